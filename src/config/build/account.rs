//! `[account.NAME]`: limits that destinations share, and who shares them.
//!
//! # What it does not know
//!
//! What else a destination is held to.

use std::sync::Arc;

use super::super::Problem;
use super::super::fields::Section;
use super::{note, rate};
use crate::engine::{Account, Destination};
use crate::model::nearest::nearest;

/// The accounts of the file.
pub(super) fn accounts(root: &Section, problems: &mut Vec<Problem>) -> Vec<Arc<Account>> {
    let mut account = |(name, section): (&str, &Section)| {
        let concurrency = section.number("concurrency").and_then(|number| u16::try_from(number).ok());
        Arc::new(Account { name: name.into(), rate: rate(section, problems), concurrency })
    };
    root.section("account").into_iter().flat_map(Section::named).map(&mut account).collect()
}

/// The account that a destination names.
pub(super) fn account_of(
    section: &Section,
    accounts: &[Arc<Account>],
    problems: &mut Vec<Problem>,
) -> Option<Arc<Account>> {
    let name = section.text("account")?;
    let found = accounts.iter().find(|account| *account.name == *name).cloned();
    if found.is_none() {
        let hint = match nearest(name, accounts.iter().map(|account| &*account.name)) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("[account.{name}] is where its limits stand"),
        };
        note(problems, section.place("account"), &format!("there is no account {name:?}"), &hint);
    }
    found
}

/// A line for each account that no destination has.
pub(super) fn unused(accounts: &[Arc<Account>], destinations: &[Destination]) -> Vec<String> {
    let is_used = |account: &Arc<Account>| {
        destinations.iter().filter_map(|one| one.account.as_ref()).any(|used| Arc::ptr_eq(used, account))
    };
    let unused = accounts.iter().filter(|account| !is_used(account));
    unused.map(|account| format!("account {:?}: no destination has it", account.name)).collect()
}
