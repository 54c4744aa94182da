use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> Limits {
    Limits {
        connections: 4,
        per_source: 2,
        reserved: vec![address(250)],
        reserve: 1,
        opening: 10 * SECOND,
        idle: 60 * SECOND,
        response: 10 * SECOND,
        exchange: Some(20 * SECOND),
    }
}

fn address(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn slot(guard: &Arc<Guard>, from: u8) -> Arc<Slot> {
    Arc::new(guard.admit(address(from)).expect("a slot"))
}

fn is_over(slot: &Slot) -> bool {
    slot.deadline().is_none()
}

#[tokio::test(start_paused = true)]
async fn when_full_the_idlest_makes_room_and_one_of_use_does_so_last() {
    let guard = Guard::new(limits());
    let of_use = slot(&guard, 1);
    drop(of_use.use_it());
    let mut silent = Vec::new();
    for from in 2..5 {
        tokio::time::advance(SECOND).await;
        silent.push(slot(&guard, from));
    }
    let mut over = Vec::new();
    for from in 5..9 {
        tokio::time::advance(SECOND).await;
        // It is busy, so that it is nobody's turn but the others'.
        let newcomer = slot(&guard, from);
        let busy = newcomer.use_it();
        let all = silent.iter().chain([&of_use]);
        over.push((all.filter(|slot| is_over(slot)).count(), busy));
    }
    assert_eq!(over.iter().map(|it| it.0).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert_eq!(guard.closed(Closed::Evicted), 4);
    // Everybody is busy.
    assert_eq!(guard.admit(address(9)).err(), Some(Refused::Full));
    assert_eq!(guard.refused(Refused::Full), 1);
    assert_eq!(guard.connections(), 4);
    drop(over);
    assert!(guard.admit(address(9)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_source_has_its_share_and_takes_the_place_of_its_own() {
    let guard = Guard::new(limits());
    let other = slot(&guard, 1);
    let first = slot(&guard, 2);
    tokio::time::advance(SECOND).await;
    let second = slot(&guard, 2);
    tokio::time::advance(SECOND).await;
    let third = slot(&guard, 2);
    assert!(is_over(&first) && !is_over(&other) && !is_over(&second));
    let busy = [second.use_it(), third.use_it()];
    assert_eq!(guard.admit(address(2)).err(), Some(Refused::Source));
    assert_eq!(guard.refused(Refused::Source), 1);
    let mapped = IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x0a00, 2]);
    assert_eq!(guard.admit(mapped).err(), Some(Refused::Source));
    drop((busy, second, third));
    assert_eq!(guard.connections(), 1);
    assert!(guard.admit(address(2)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn those_with_the_reserve_get_through_when_all_are_busy_and_stay() {
    let guard = Guard::new(limits());
    let slots: Vec<_> = (1..5).map(|from| slot(&guard, from)).collect();
    let mut busy: Vec<_> = slots.iter().map(Slot::use_it).collect();
    assert!(guard.admit(address(5)).is_err());
    let probe = slot(&guard, 250);
    let in_probe = probe.use_it();
    let next = guard.admit([127, 0, 0, 1].into());
    assert_eq!(next.err(), Some(Refused::Full), "the reserve is used up");
    drop(in_probe);
    // The probe is idle; only its like make room of it.
    assert!(guard.admit(address(5)).is_err());
    assert!(!is_over(&probe));
    let local = guard.admit([127, 0, 0, 1].into()).expect("a slot");
    assert!(is_over(&probe));
    busy.clear();
    drop(local);
}

#[tokio::test(start_paused = true)]
async fn each_state_has_its_time() {
    let began = Instant::now();
    let guard = Guard::new(limits());
    let silent = slot(&guard, 1);
    assert_eq!(silent.over().await, Closed::Opening);
    assert_eq!(began.elapsed(), 10 * SECOND);

    let began = Instant::now();
    let idle = slot(&guard, 2);
    drop(idle.use_it());
    assert_eq!(idle.over().await, Closed::Idle);
    assert_eq!(began.elapsed(), 60 * SECOND);

    let began = Instant::now();
    let stuck = slot(&guard, 3);
    let _request = stuck.use_it();
    assert_eq!(stuck.over().await, Closed::Overdue);
    assert_eq!(began.elapsed(), 20 * SECOND);
    assert_eq!(Closed::ALL.map(|why| guard.closed(why)), [0, 1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_no_end() {
    let guard = Guard::new(Limits {
        exchange: None,
        ..limits()
    });
    let streams = slot(&guard, 1);
    let request = streams.use_it();
    let day = Duration::from_secs(24 * 3600);
    assert!(tokio::time::timeout(day, streams.over()).await.is_err());
    drop(request);
    let began = Instant::now();
    assert_eq!(streams.over().await, Closed::Idle);
    assert_eq!(began.elapsed(), 60 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_is_told_that_it_is_evicted() {
    let guard = Guard::new(limits());
    let first = slot(&guard, 1);
    let waits = tokio::spawn(async move { first.over().await });
    tokio::task::yield_now().await;
    let _others: Vec<_> = (2..6).map(|from| slot(&guard, from)).collect();
    let why = tokio::time::timeout(SECOND, waits).await;
    assert_eq!(why.expect("at once").expect("no panic"), Closed::Evicted);
}

#[tokio::test(start_paused = true)]
async fn connecting_again_and_again_takes_nothing_from_those_who_have_less() {
    let guard = Guard::new(Limits {
        connections: 8,
        per_source: 4,
        ..limits()
    });
    let modest = slot(&guard, 1);
    let mut greedy: Vec<_> = [2, 2, 2, 2, 3, 3, 3].map(|from| slot(&guard, from)).into();
    for _ in 0..3 {
        tokio::time::advance(SECOND / 2).await;
        // One of them may come anew each second; the rest is turned away.
        let again = (0..20).filter_map(|_| guard.admit(address(3)).ok());
        let again: Vec<_> = again.collect();
        assert!(again.len() <= 4, "{}", again.len());
        greedy.extend(again.into_iter().map(Arc::new));
        assert!(!is_over(&modest));
    }
    // Who has less comes in at once, at the cost of who has most.
    let newcomer = slot(&guard, 4);
    assert!(!is_over(&modest) && !is_over(&newcomer));
}
