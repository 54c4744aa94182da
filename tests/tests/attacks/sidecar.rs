//! The sidecar's listeners for probes and scrapers.

use std::process::Command;

use weir_api::{ports, sidecar::READY_PATH};
use weir_tests::{eventually::eventually, http, running::Running, skip};

use crate::{
    PATIENCE,
    strangers::{Attack, attack},
    world::{NODE, TARGET, World, at, strangers},
};

/// Connections at a time. Six of six probes failed for them.
const SOCKETS: usize = 160;
const PROBES: usize = 6;

/// Statuses of probes as a kubelet makes them: each on a connection of its own.
fn probes(world: &World, port: u16) -> Vec<u16> {
    world.others.run(|| {
        let probe = |_| {
            let answer = http::get_from(NODE.into(), at(port), READY_PATH);
            answer.expect("an answer").status
        };
        (0..PROBES).map(probe).collect()
    })
}

#[test]
fn idle_connections_do_not_make_a_pod_unready() {
    let Some(program) = skip::built("weir-agent") else {
        return;
    };
    let Some(world) = World::new() else {
        return;
    };
    let mut command = Command::new(program);
    command.args(["run", "--capture-mode", "none", "--pod-ip"]);
    command.arg(TARGET.to_string());
    let sidecar = world
        .target
        .run(|| Running::start(&mut command).expect("it starts"));
    let ready = || {
        let answer = http::get(at(ports::READINESS), READY_PATH).ok()?;
        (answer.status == 200).then_some(())
    };
    world
        .target
        .run(|| eventually(PATIENCE, ready))
        .expect("ready");
    let before = sidecar.memory("VmRSS").expect("memory");

    let all: Vec<_> = strangers().collect();
    for port in [ports::READINESS, ports::STATUS] {
        for from in [&all[..1], &all[..]] {
            let how = Attack::Silence;
            let statuses = attack(&world.others, from, at(port), SOCKETS, &how, || {
                probes(&world, port)
            });
            assert_eq!(statuses, [200; PROBES], "{port} from {}", from.len());
        }
    }
    let after = sidecar.memory("VmRSS").expect("memory");
    assert!(after < before + 4096, "{before} KiB, then {after} KiB");
}
