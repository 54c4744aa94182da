//! Admission webhooks: decide, inject, validate.
