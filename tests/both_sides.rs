//! A shop and an ERP, each with a goniec beside it: orders go one way, prices and stock the other, over three days on which much goes wrong. In the end
//! both systems have everything, both registries agree, and what is deleted behind goniec's back is found and sent again.
//!
//! `GONIEC_BOTH_START` and `GONIEC_BOTH_SEEDS` choose the seeds; a failure prints its own, and `GONIEC_BOTH_START=N GONIEC_BOTH_SEEDS=1` repeats it.
//! The epochs alone are drawn by chance. The controls: every planted fault is found.

#[cfg(feature = "cli")]
#[path = "both_sides/page.rs"]
mod page;
#[cfg(feature = "cli")]
#[path = "common/peer.rs"]
#[allow(dead_code, reason = "each harness uses its part")]
mod peer;
#[path = "both_sides/systems.rs"]
mod systems;
#[path = "both_sides/threads.rs"]
mod threads;
#[path = "both_sides/world.rs"]
mod world;

use goniec::admin::reconcile::Standing;
use systems::{ERP, PEER, SHOP};
use threads::{Both, report};
use world::World;

const SEEDS: u64 = 20;
const DAYS: u64 = 3;

/// What is broken in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    Nothing,
    /// What the ledger knows is taken once more.
    NoDedup,
    /// The shop is told of every price, in whatever order they come.
    NotTheLatest,
    /// What is missing is never sent again, to a node of the ERP whose syncs lie.
    HolesIgnored,
}

/// Three days, and what does not hold after them.
fn live(seed: u64, plant: Plant) -> (World, Vec<String>) {
    let mut world = World::new(seed, plant);
    world.live(DAYS);
    let is_at_rest = world.settle_down();
    let mut violations = world.systems.known().violations();
    violations.extend(world.holes());
    violations.extend(world.differences().0.iter().map(|difference| format!("the ledgers differ: {difference:?}")));
    violations.extend((!is_at_rest).then(|| "something never ends".to_owned()));
    (world, violations)
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn after_three_days_both_sides_agree_and_what_is_deleted_comes_again() {
    let (start, seeds) = (number("GONIEC_BOTH_START", 0), number("GONIEC_BOTH_SEEDS", SEEDS));
    let (mut orders, mut compared, mut crashes, mut partings) = (0, 0, 0, 0);
    for seed in start..start + seeds {
        println!("seed {seed}");
        let (world, violations) = live(seed, Plant::Nothing);
        assert!(violations.is_empty(), "seed {seed}: {violations:#?}");
        orders += world.systems.known().accepted.len() as u64;
        compared += world.differences().1;
        crashes += world.crashes;
        partings += world.partings;
        delete_behind_its_back(seed, world);
    }
    println!("{seeds} seeds from {start}: {orders} orders, {compared} numbers, {crashes} crashes, {partings} partings");
    assert!(orders / seeds >= 100 && compared / seeds >= 700, "the days are too empty: {orders}, {compared}");
    assert!(seeds < 20 || (crashes / seeds >= 5 && partings / seeds >= 2), "hardly anything goes wrong");
}

/// An order is deleted at the node of the ERP, another one in the ERP itself: each is found, and comes again.
fn delete_behind_its_back(seed: u64, world: World) {
    let World { systems, nodes, .. } = world;
    let both = Both::start(nodes.map(|node| node.disk), &systems);
    let keys: Vec<String> = systems.known().accepted.iter().cloned().collect();
    let ledgers = [SHOP, ERP].map(|from| both.with_ledger(from));
    let agree = |when: &str| {
        for (ledger, name) in ledgers.iter().zip(PEER) {
            let report = report(ledger, name);
            let about = format!("seed {seed}, {when}, {name}: {report:?}");
            assert_eq!(report.failure, None, "{about}");
            assert!(report.standing() == Standing::InSync && report.matched > 0, "{about}");
        }
    };
    agree("after three days");

    let lost = &keys[keys.len() / 2];
    both.delete(lost);
    let found = report(&ledgers[SHOP], PEER[SHOP]);
    let named: Vec<&str> = found.missing.samples.iter().map(|sample| sample.key.as_str()).collect();
    assert_eq!((named, found.lacking(), found.unexpected.count), (vec![lost.as_str()], 1, 0), "seed {seed}: {found:?}");
    assert!(matches!(ledgers[SHOP].want(PEER[SHOP], "anna", Some(1), None), Some(Ok(()))), "seed {seed}: {found:?}");
    ledgers[SHOP].turn(found.at);
    // The ERP knows orders by their number, and what comes again under another id as what it has.
    both.until("it comes again", || systems.known().orders[lost].len() == 2);
    agree("after it came again");

    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("orders.ndjson");
    let table = both.with_table(&list);
    both.list_table(&list);
    let whole = report(&table, "orders");
    let about = format!("seed {seed}: {whole:?}");
    assert_eq!((whole.standing(), whole.matched), (Standing::InSync, keys.len() as u64), "{about}");
    let gone = &keys[keys.len() / 3];
    systems.known().orders.remove(gone);
    both.list_table(&list);
    let found = report(&table, "orders");
    let named: Vec<&str> = found.missing.samples.iter().map(|sample| sample.key.as_str()).collect();
    assert_eq!((named, found.lacking(), found.unexpected.count), (vec![gone.as_str()], 1, 0), "seed {seed}: {found:?}");
    assert!(matches!(table.want("orders", "anna", Some(1), None), Some(Ok(()))), "seed {seed}: {found:?}");
    table.turn(found.at);
    both.until("it is in the table again", || systems.known().orders.contains_key(gone));
    both.list_table(&list);
    assert_eq!(report(&table, "orders").standing(), Standing::InSync, "seed {seed}");
    agree("in the end");
    let audit = both.engines[ERP].audit(None, 100).expect("reads").entries;
    assert!(
        audit
            .iter()
            .any(|(entry, ..)| entry.deed.act == "reconcile" && entry.deed.detail == "orders: 1 sent again, 0 not")
    );
}

/// The control of all the rest: every planted fault is found.
#[test]
fn every_planted_fault_is_found() {
    let mut missed = Vec::new();
    for plant in [Plant::NoDedup, Plant::NotTheLatest, Plant::HolesIgnored] {
        let found = (0..SEEDS).find_map(|seed| live(seed, plant).1.into_iter().next().map(|what| (seed, what)));
        match found {
            Some((seed, what)) => println!("{plant:?}: seed {seed}: {what}"),
            None => missed.push(plant),
        }
    }
    assert!(missed.is_empty(), "not found in {SEEDS} seeds: {missed:?}");
}
