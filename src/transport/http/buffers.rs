//! The two buffers of a connection, grown only as far as they are used: hundreds of connections rest at a time.
//!
//! # What it does not know
//!
//! Sockets.

use ureq::unversioned::transport::Buffers;

/// The first size of the input buffer, in bytes; it doubles while a head does not fit.
const INPUT_BYTES_FIRST: usize = 4 << 10;

/// The most that waits to be understood, in bytes: a head of [`HEAD_BYTES_MAX`](super::HEAD_BYTES_MAX), and what was read along with it. A
/// chunk size or a trailer that never ends must not fill the memory.
const INPUT_BYTES_MAX: usize = 2 * super::HEAD_BYTES_MAX;

/// What may be appended to the output at once, in bytes.
const OUTPUT_BYTES_STEP: usize = 16 << 10;

/// The buffers of one connection.
#[derive(Debug, Default)]
pub(super) struct WireBuffers {
    input: Vec<u8>,
    input_begin: usize,
    input_end: usize,
    /// Whether the reader took something of the input the last time: if not, it needs more.
    progress: bool,
    output: Vec<u8>,
    held: usize,
}

impl WireBuffers {
    /// What is to be written.
    pub(super) fn held(&self) -> &[u8] {
        self.output.get(..self.held).unwrap_or_default()
    }

    /// Adds what was put into [`Buffers::output`] to what is to be written.
    pub(super) fn hold(&mut self, bytes: usize) {
        self.held = self.held.saturating_add(bytes).min(self.output.len());
    }

    /// Forgets what was written.
    pub(super) fn drop_held(&mut self) {
        self.held = 0;
    }

    fn room(&mut self) -> (&mut [u8], &mut [u8]) {
        if self.input_begin == self.input_end {
            (self.input_begin, self.input_end) = (0, 0);
        }
        if self.input_end == self.input.len() {
            self.input.copy_within(self.input_begin.., 0);
            self.input_end -= self.input_begin;
            self.input_begin = 0;
            if self.input.len() - self.input_end < INPUT_BYTES_FIRST {
                self.input.resize((self.input.len() * 2).clamp(INPUT_BYTES_FIRST, INPUT_BYTES_MAX), 0);
            }
        }
        if self.output.len() < self.held + OUTPUT_BYTES_STEP {
            self.output.resize(self.held + OUTPUT_BYTES_STEP, 0);
        }
        (self.input.get_mut(self.input_end..).unwrap_or_default(), self.output.get_mut(self.held..).unwrap_or_default())
    }
}

impl Buffers for WireBuffers {
    fn output(&mut self) -> &mut [u8] {
        self.room().1
    }

    fn input(&self) -> &[u8] {
        self.input.get(self.input_begin..self.input_end).unwrap_or_default()
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.room().0
    }

    fn input_appended(&mut self, amount: usize) {
        self.input_end = self.input_end.saturating_add(amount).min(self.input.len());
    }

    fn input_consume(&mut self, amount: usize) {
        self.progress = amount > 0;
        self.input_begin = self.input_begin.saturating_add(amount).min(self.input_end);
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.room()
    }

    fn can_use_input(&self) -> bool {
        self.input_begin < self.input_end && self.progress
    }
}
