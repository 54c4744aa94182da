use super::*;

/// A priority of a hundred hosts, of which so many are healthy and so many degraded.
fn of_hundred((healthy, degraded): (u64, u64)) -> Level {
    level(100, 0, healthy, degraded)
}

fn level(hosts: u64, excluded: u64, healthy: u64, degraded: u64) -> Level {
    let tally = Tally {
        total: hosts - excluded,
        healthy,
        degraded,
    };
    Level {
        hosts,
        counted: tally,
        weighed: tally,
    }
}

fn loads_of(levels: &[Level], factor: u32, panic: u32) -> Vec<Load> {
    let thresholds = Thresholds {
        overprovisioning_factor: factor,
        healthy_panic: panic,
    };
    loads(levels, thresholds)
}

/// A row of a table: healthy and degraded hosts of each priority, and the percents they get.
type Row = (&'static [(u64, u64)], &'static [(u64, u64)]);

/// The tables of Envoy's documentation on priorities, and what it says of degraded hosts. Rows in
/// which priorities fall below the panic threshold are shown without it, as there.
const TABLE: &[Row] = &[
    // Two priorities.
    (&[(100, 0), (100, 0)], &[(100, 0), (0, 0)]),
    (&[(72, 0), (72, 0)], &[(100, 0), (0, 0)]),
    (&[(71, 0), (71, 0)], &[(99, 0), (1, 0)]),
    (&[(50, 0), (50, 0)], &[(70, 0), (30, 0)]),
    (&[(25, 0), (100, 0)], &[(35, 0), (65, 0)]),
    (&[(25, 0), (25, 0)], &[(50, 0), (50, 0)]),
    // Three.
    (&[(100, 0), (100, 0), (100, 0)], &[(100, 0), (0, 0), (0, 0)]),
    (&[(72, 0), (72, 0), (100, 0)], &[(100, 0), (0, 0), (0, 0)]),
    (&[(71, 0), (71, 0), (100, 0)], &[(99, 0), (1, 0), (0, 0)]),
    (&[(50, 0), (50, 0), (100, 0)], &[(70, 0), (30, 0), (0, 0)]),
    (&[(25, 0), (100, 0), (100, 0)], &[(35, 0), (65, 0), (0, 0)]),
    (&[(25, 0), (25, 0), (100, 0)], &[(35, 0), (35, 0), (30, 0)]),
    // Documented as 36, 36 and 28; Envoy's whole numbers leave 2 to the first.
    (&[(25, 0), (25, 0), (20, 0)], &[(37, 0), (35, 0), (28, 0)]),
    // Degraded hosts take what healthy ones of all priorities leave.
    (&[(0, 100)], &[(0, 100)]),
    (&[(50, 50)], &[(70, 30)]),
    (&[(50, 50), (50, 0)], &[(70, 0), (30, 0)]),
    (&[(0, 100), (100, 0)], &[(0, 0), (100, 0)]),
    (&[(5, 0), (0, 60), (0, 0)], &[(8, 0), (0, 92), (0, 0)]),
];

#[test]
fn loads_are_those_of_the_documented_tables() {
    for (levels, expected) in TABLE {
        let levels: Vec<Level> = levels.iter().copied().map(of_hundred).collect();
        let loads = loads_of(&levels, 140, 0);
        let loads: Vec<_> = loads.iter().map(|l| (l.healthy, l.degraded)).collect();
        assert_eq!(loads.iter().map(|(h, d)| h + d).sum::<u64>(), 100);
        assert_eq!(loads, *expected, "{levels:?}");
    }
}

/// Healthy percent of two priorities, the share of each, and whether it is in panic.
type Panic = ([u64; 2], [u64; 2], [bool; 2]);

/// The tables of Envoy's documentation on the panic threshold, which is 50 there.
const PANIC_TABLE: &[Panic] = &[
    ([72, 72], [100, 0], [false, false]),
    ([71, 71], [99, 1], [false, false]),
    ([50, 60], [70, 30], [false, false]),
    ([50, 50], [70, 30], [false, false]),
    ([25, 100], [35, 65], [false, false]),
    ([25, 25], [50, 50], [true, true]),
    // Documented as 7 and 93, likewise.
    ([5, 65], [8, 92], [true, false]),
    ([0, 0], [50, 50], [true, true]),
];

#[test]
fn panic_is_where_too_few_are_left_and_no_other_priority_takes_over() {
    for (healthy, expected, in_panic) in PANIC_TABLE {
        let levels = healthy.map(|healthy| of_hundred((healthy, 0)));
        let loads = loads_of(&levels, 140, 50);
        let found = [loads[0].healthy, loads[1].healthy];
        assert_eq!(found, *expected, "{healthy:?}");
        assert_eq!(
            [loads[0].in_panic, loads[1].in_panic],
            *in_panic,
            "{healthy:?}"
        );
    }
}

#[test]
fn in_total_panic_the_number_of_hosts_decides() {
    let loads = loads_of(
        &[level(0, 0, 0, 0), level(2, 0, 0, 0), level(4, 0, 0, 0)],
        140,
        50,
    );
    let shares: Vec<_> = loads.iter().map(|load| load.healthy).collect();
    assert_eq!(shares, [0, 34, 66]);
    assert!(loads.iter().all(|load| load.in_panic));
}

#[test]
fn without_a_threshold_nobody_gets_what_nobody_can_take() {
    let loads = loads_of(&[of_hundred((0, 0)), of_hundred((0, 0))], 140, 0);
    assert_eq!((loads[0].healthy, loads[1].healthy), (100, 0));
    assert!(loads.iter().all(|load| !load.in_panic));
    assert!(loads_of(&[], 140, 50).is_empty());
}

#[test]
fn excluded_hosts_count_neither_for_nor_against_a_priority() {
    // Of ten hosts eight are excluded, and the two others are healthy.
    let loads = loads_of(&[level(10, 8, 2, 0)], 140, 50);
    assert_eq!((loads[0].healthy, loads[0].in_panic), (100, false));
    let loads = loads_of(&[level(3, 3, 0, 0)], 140, 50);
    assert!(loads[0].in_panic);
}

#[test]
fn the_factor_decides_how_many_may_be_missing() {
    let levels = [of_hundred((60, 0)), of_hundred((100, 0))];
    let first = |factor| loads_of(&levels, factor, 50)[0].healthy;
    assert_eq!((first(100), first(140), first(200)), (60, 84, 100));
}
