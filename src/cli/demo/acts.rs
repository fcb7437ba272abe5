//! The four stories, played one after another: a courier that is overloaded, prices that are overtaken, orders that would have been late, a body that is broken.
//!
//! # What holds
//!
//! * What an act tells has been looked up, in the node or in the ledger of a system.
//! * The administrator of the story does what any administrator can: reads, resends, edits, over the same interface and with a reason.
//!
//! # What it does not know
//!
//! How the systems and the node do it.

use std::time::Instant;

use serde_json::Value;

use super::super::client::yes;
use super::super::messages::field;
use super::super::{Fail, NO, USAGE};
use super::goods::{COURIER, ERP, NO_POSTCODE, POSTCODE, PRICES, broken_order, order, price, shipment};
use super::stage::{Halt, Stage, list};
use super::systems::System;
use crate::model::percent::escape;

/// The numbers of the orders of the acts.
const ORDERS: u64 = 10_400;
const LATE_ORDERS: u64 = 10_460;
const BROKEN_ORDER: u64 = 10_470;
const VISITORS_ORDER: u64 = 10_472;
/// How many orders come while the courier is overloaded, and how many more a little later.
const RUSH: u64 = 24;
const MORE: u64 = 6;
/// How often each price changes while the shop takes none, and of how many articles.
const CHANGES: u64 = 5;
const CHANGED: u64 = 4;
/// How long after each other the prices change.
const CHANGE_MS: u64 = 1_200;
/// How long the visitor has to look at what is, and between two acts.
const LOOK_MS: u64 = 6_000;
const BETWEEN_MS: u64 = 4_000;

/// Plays all of them.
pub(super) fn play(stage: &mut Stage<'_>) -> Result<(), Halt> {
    for act in [overload, prices, late, broken] {
        match act(stage) {
            // The visitor may have been there first: edited or deleted its messages, or paused its destination.
            Err(Halt::Failed(fail)) if matches!(fail.code, NO | USAGE) => {
                stage.check(&format!("the act goes as it should: {}", fail.line), false)?;
            }
            other => other?,
        }
        stage.systems.heal()?;
        stage.rest(BETWEEN_MS)?;
    }
    Ok(())
}

fn overload(stage: &mut Stage<'_>) -> Result<(), Halt> {
    stage.act("1. The courier is overloaded: every order must reach it all the same, and none twice")?;
    let (until_ms, after) = (stage.pace.ms(3_000), stage.pace.seconds(2));
    stage.systems.play(
        System::Courier,
        &format!("until {until_ms}ms -> 429 retry-after {after} body 'too many requests'\n-> 503 body 'overloaded'"),
    )?;
    stage.tell("courier", &format!("answers 429 with Retry-After {after}, and soon nothing but 503"))?;
    let begun = Instant::now();
    let (_, mut shipments) = rush(stage, ORDERS, RUSH)?;
    let took = begun.elapsed().as_millis();
    stage.tell(
        "shop",
        &format!("{RUSH} orders come in, each for the ERP and the courier; written down durably in {took} ms"),
    )?;
    stage.promise("the breaker of the courier opens", |stage| {
        Ok(!matches!(&*field(&stage.destination(COURIER)?, "breaker"), "" | "closed"))
    })?;
    let lane = stage.destination(COURIER)?;
    let (breaker, waiting) = (field(&lane, "breaker"), field(&lane, "waiting"));
    stage.tell(
        "goniec",
        &format!("leaves the courier alone but for a probe (breaker {breaker}); {waiting} shipments wait"),
    )?;
    stage.tell("", &stage.page("destinations"))?;
    stage.rest(LOOK_MS)?;
    let (orders, more) = rush(stage, ORDERS + RUSH, MORE)?;
    shipments.extend(more);
    stage.tell("shop", &format!("{MORE} more orders come in"))?;
    if stage.promise("the ERP has them though the courier is down", |stage| stage.all_delivered(&orders))? {
        stage.tell("erp", "has them already: it is not held up by the courier")?;
    }
    stage.rest(LOOK_MS)?;
    stage.systems.play(System::Courier, "")?;
    stage.tell("courier", "is well again")?;
    stage.promise("every shipment is delivered", |stage| stage.all_delivered(&shipments))?;
    let courier = stage.systems.behind(COURIER);
    let count = |is: fn(u64) -> bool| shipments.iter().filter(|id| is(courier.taken(id))).count();
    let (arrived, twice, all) = (count(|times| times > 0), count(|times| times > 1), shipments.len());
    let requests = courier.figures().requests;
    stage.tell(
        "courier",
        &format!("counts {arrived} of {all} shipments, {twice} of them twice, in {requests} requests"),
    )?;
    Ok(stage.check("the courier has every shipment, none twice", arrived == all && twice == 0)?)
}

/// So many orders, each to the ERP and the courier; the ids there and here.
fn rush(stage: &mut Stage<'_>, from: u64, count: u64) -> Result<(Vec<String>, Vec<String>), Fail> {
    let orders: Vec<_> = (from..from + count).map(order).collect();
    let all: Vec<_> = orders.into_iter().chain((from..from + count).map(shipment)).collect();
    let mut orders = stage.hand_in(&all)?;
    let shipments = orders.split_off(orders.len() / 2);
    Ok((orders, shipments))
}

fn prices(stage: &mut Stage<'_>) -> Result<(), Halt> {
    stage.act(
        "2. The shop takes no prices for a while: what arrives then must be the newest, and no older one after it",
    )?;
    let wait_ms = stage.pace.ms(600);
    let slow = format!("path /prices* -> wait {wait_ms}ms 503 body 'price index is being rebuilt'");
    stage.systems.play(System::Shop, &slow)?;
    stage.tell("shop", "its price interface is slow, and answers 503")?;
    let (mut older, mut newest) = (Vec::new(), Vec::new());
    let mut last = Vec::new();
    for change in 1..=CHANGES {
        last = (0..CHANGED).map(|article| price(article, change)).collect();
        older.append(&mut newest);
        newest = stage.hand_in(&last)?;
        stage.rest(CHANGE_MS)?;
    }
    stage.tell("erp", &format!("changed the prices of {CHANGED} articles {CHANGES} times"))?;
    let stale = superseded(stage, &older)?;
    stage.tell(
        "goniec",
        &format!("{stale} of {} older prices are superseded and go no more; each says by which", older.len()),
    )?;
    stage.tell("", &stage.page("messages?filter=reason:superseded"))?;
    stage.rest(LOOK_MS)?;
    stage.systems.play(System::Shop, "")?;
    stage.tell("shop", "is well again")?;
    stage.promise("the newest price of each article is delivered", |stage| stage.all_delivered(&newest))?;
    stage.promise("every older price is superseded", |stage| Ok(superseded(stage, &older)? == older.len()))?;
    let shop = stage.systems.behind(PRICES);
    let came = older.iter().filter(|id| shop.taken(id) > 0).count();
    let right = last.iter().filter(|one| shop.last(&one.key) == Some(crc32fast::hash(one.body.as_bytes()))).count();
    stage.tell("shop", &format!("has the newest price of {right} of {CHANGED} articles; it took {came} stale ones"))?;
    Ok(stage.check("the shop has the newest prices alone", right == last.len() && came == 0)?)
}

fn superseded(stage: &Stage<'_>, ids: &[String]) -> Result<usize, Fail> {
    Ok(stage.stands(ids)?.values().filter(|stands| stands.reason == "superseded").count())
}

fn late(stage: &mut Stage<'_>) -> Result<(), Halt> {
    stage.act("3. The ERP takes no orders: somebody must know before it is too late")?;
    let closed =
        "-> 503 header 'content-type: application/json' body '{\"error\":\"month-end closing, no orders are taken\"}'";
    stage.systems.play(System::Erp, closed)?;
    let (kowalska, zielinski) = (LATE_ORDERS, LATE_ORDERS + 3);
    let orders = stage.hand_in(&[order(kowalska), order(zielinski)])?;
    stage
        .tell("shop", &format!("orders {kowalska} and {zielinski} come in; the ERP answers 503, month-end closing"))?;
    let Some(first) = orders.first().cloned() else { return Ok(()) };
    let accepted_at = field(&stage.read(&format!("/v1/messages/{first}"))?, "accepted_at");
    let is_told = stage.promise("that orders are late is told", |stage| {
        Ok(field(&stage.destination(ERP)?, "late") == "2" && told_since(stage, &accepted_at)?)
    })?;
    if is_told {
        stage.tell("goniec", "tells it by the log; it would go on trying by itself, and give up at the deadline")?;
    }
    if !stage.promise("they are one incident", |stage| Ok(incident_at(stage, ERP)?.is_some()))? {
        return Ok(());
    }
    let incident = incident_at(stage, ERP)?.unwrap_or_default();
    let due_at = field(&stage.read(&format!("/v1/messages/{first}"))?, "due_at");
    let (failures, open, detail) = (field(&incident, "failures"), field(&incident, "open"), field(&incident, "detail"));
    stage
        .tell("goniec", &format!("one incident, {failures} failed attempts and {open} undelivered orders: {detail}"))?;
    stage.tell("", &stage.page("incidents"))?;
    stage.rest(LOOK_MS)?;
    stage.systems.play(System::Erp, "")?;
    stage.tell("erp", &format!("takes orders again, but the next try is due only at {due_at}"))?;
    stage.rest(LOOK_MS)?;
    let act = serde_json::json!({
        "action": "resend",
        "filter": field(&incident, "filter"),
        "why": "the month-end closing is over, these orders must leave today",
    });
    let headers = [("content-type", "application/json")];
    yes(stage.anna.call("POST", "/v1/bulk", &headers, act.to_string().as_bytes())?)?;
    stage.tell("anna", "the administrator of this story: resends what the incident names, with one act")?;
    if stage.promise("the late orders are delivered", |stage| stage.all_delivered(&orders))? {
        stage.tell(
            "erp",
            &format!("has orders {kowalska} and {zielinski}; the incident closes by itself within half a minute"),
        )?;
    }
    Ok(())
}

/// The open incident of a destination.
fn incident_at(stage: &Stage<'_>, destination: &str) -> Result<Option<Value>, Fail> {
    let all = stage.read("/v1/incidents?state=open")?;
    Ok(list(&all, "incidents").iter().find(|one| field(one, "destination") == destination).cloned())
}

/// Whether the first rule of alerts has told anything since then.
fn told_since(stage: &Stage<'_>, at: &str) -> Result<bool, Fail> {
    let rules = stage.read("/v1/alerts")?;
    // Times of one form are in order as texts are.
    Ok(list(&rules, "rules").first().is_some_and(|rule| *field(rule, "last_told_at") >= *at))
}

fn broken(stage: &mut Stage<'_>) -> Result<(), Halt> {
    stage.act("4. An order that the ERP refuses: somebody must see why, mend it, and send it on")?;
    let id = refused(stage, BROKEN_ORDER)?;
    stage.rest(LOOK_MS)?;
    let path = format!("/v1/messages/{id}");
    let revision = field(&stage.read(&path)?, "revision");
    let body = yes(stage.anna.call("GET", &format!("{path}/body"), &[], &[])?)?.body;
    let mended = String::from_utf8_lossy(&body).replace(NO_POSTCODE, POSTCODE);
    let said = "the buyer gave the postcode on the phone";
    let tag = format!("\"{revision}\"");
    let put = format!("{path}/body?why={}", escape(said));
    yes(stage.anna.call(
        "PUT",
        &put,
        &[("if-match", &tag), ("content-type", "application/json")],
        mended.as_bytes(),
    )?)?;
    stage.tell("anna", &format!("edits the body, as a new revision: {said}"))?;
    if stage.promise("the mended order is delivered", |stage| stage.all_delivered(std::slice::from_ref(&id)))? {
        stage.tell("erp", &format!("has order {BROKEN_ORDER}. Both bodies, who changed them and why:"))?;
    }
    stage.tell("", &stage.page(&format!("message/{id}")))?;
    Ok(())
}

/// Leaves a broken order to the visitor; its id.
pub(super) fn leave_one(stage: &mut Stage<'_>) -> Result<String, Halt> {
    stage.act("Your turn")?;
    let id = refused(stage, VISITORS_ORDER)?;
    stage.tell("you", "can mend this one. Open it, choose Edit, write a postcode such as 50-067, say why, save:")?;
    stage.tell("", &stage.page(&format!("message/{id}")))?;
    Ok(id)
}

/// Hands in an order without a postcode, and waits until it was refused and that was told; its id.
fn refused(stage: &mut Stage<'_>, number: u64) -> Result<String, Halt> {
    let id = stage.hand_in(&[broken_order(number)])?.into_iter().next().unwrap_or_default();
    stage.tell("shop", &format!("order {number} comes in without a postcode"))?;
    let path = format!("/v1/messages/{id}");
    let is_told = stage.promise("the order is given up as rejected, and that is told", |stage| {
        let message = stage.read(&path)?;
        Ok(field(&message, "reason") == "rejected" && told_since(stage, &field(&message, "updated_at"))?)
    })?;
    if is_told {
        let attempts = stage.read(&format!("{path}/attempts"))?;
        let why = list(&attempts, "attempts").last().map(|attempt| field(attempt, "detail")).unwrap_or_default();
        stage.tell("goniec", &format!("gives it up, and tells why: {why}"))?;
    }
    Ok(id)
}
