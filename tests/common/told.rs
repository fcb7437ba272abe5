//! A person who writes down what he is told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use goniec::engine::{Alert, Channel};

/// Destination and reason of every alert.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Vec<String>>>, Arc<AtomicBool>);

impl Channel for Told {
    fn tell(&self, alert: &Alert) -> Result<(), String> {
        if self.1.load(Ordering::SeqCst) {
            return Err("nobody listens".into());
        }
        self.0.lock().expect("whole").push(format!("{} {}", alert.destination, alert.reason));
        Ok(())
    }

    fn name(&self) -> String {
        "notes".into()
    }
}

#[allow(dead_code, reason = "each harness uses its part")]
impl Told {
    /// Whether nobody can be told.
    pub fn fails(&self, is_so: bool) {
        self.1.store(is_so, Ordering::SeqCst);
    }

    /// What was told since this was last asked.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("whole"))
    }
}
