//! The log of a node: lines on standard error, as `RUST_LOG` asks for them.
//!
//! # What holds
//!
//! * At no level a secret: at `trace` the HTTP library tells whole URLs, and every byte of a request with its `authorization`, so there it is never heard.
//!
//! # What it does not know
//!
//! What is written.

use log::{Level, Log, Metadata, Record};

/// What is logged where nobody says.
const DEFAULT: &str = "info,sled=warn";

/// Begins to log. The first call counts.
pub(super) fn begin() {
    over(&mut env_logger::Builder::from_env(env_logger::Env::default().default_filter_or(DEFAULT)));
}

/// Begins to log as this says. The first call counts.
pub(super) fn over(builder: &mut env_logger::Builder) {
    let logger = builder.build();
    let level = logger.filter();
    if log::set_boxed_logger(Box::new(Journal(logger))).is_ok() {
        log::set_max_level(level);
    }
}

struct Journal(env_logger::Logger);

impl Log for Journal {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_too_talkative = metadata.level() == Level::Trace && metadata.target().starts_with("ureq");
        !is_too_talkative && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}
