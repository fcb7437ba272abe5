//! A person who writes down what he is told.

use std::sync::{Arc, Mutex};

use goniec::engine::{Alert, Channel};

/// Destination and reason of every alert.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Vec<String>>>);

impl Channel for Told {
    fn tell(&self, alert: &Alert) -> Result<(), String> {
        self.0.lock().expect("whole").push(format!("{} {}", alert.destination, alert.reason));
        Ok(())
    }

    fn name(&self) -> String {
        "notes".into()
    }
}

impl Told {
    /// What was told since this was last asked.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().expect("whole"))
    }
}
