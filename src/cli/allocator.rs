//! The system's allocator, told once to give back what is large.
//!
//! glibc keeps large blocks in its heaps once it has seen one freed, and between them small ones that stay: with 100,000 messages waiting that was
//! 96 MB where 45 MB were in use. It reads its settings only when a program begins, so `serve` begins itself anew with them, as the same process.
//!
//! # What it does not know
//!
//! What is allocated.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// From how many bytes a block is mapped by itself, and so given back when it is freed; and how much may lie free at the end of a heap.
const SETTINGS: [(&str, &str); 2] = [("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "131072")];

/// Begins this process anew with the settings, unless it has them, or somebody chose others.
pub(super) fn settle() {
    if !cfg!(target_env = "gnu") || SETTINGS.iter().any(|(name, _)| std::env::var_os(name).is_some()) {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let failed = Command::new(program).arg0(name).args(arguments).envs(SETTINGS).exec();
    // It works without them as well.
    log::debug!("the allocator keeps its own settings: {failed}");
}
