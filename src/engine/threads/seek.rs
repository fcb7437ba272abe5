//! The seeker: looks for what was delivered before somebody came to await it, so that the committer need not read for it.
//!
//! # What holds
//!
//! * Nobody waits for it: what is to be looked for lies with the registry, and the committer only wakes it.
//!
//! # What it does not know
//!
//! What comes of what it finds.

use crossbeam_channel::Receiver;

use super::super::after::seek;
use super::Shared;

/// Looks whenever it is woken, until the committer has ended.
pub(super) fn seek_loop(shared: &Shared, woken: &Receiver<()>) {
    while woken.recv().is_ok() {
        while !shared.is_draining()
            && let Some(request) = seek(&shared.registry)
        {
            if shared.inbox.send(request).is_err() {
                return;
            }
        }
    }
}
