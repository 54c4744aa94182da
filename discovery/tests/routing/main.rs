//! Rules about calls in, what sidecars are told out.

mod destination;
mod entries;
mod gateway;
mod mesh;
mod virtual_service;
