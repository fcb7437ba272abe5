//! A node in a process of its own, as `serve` runs it.
//!
//! # What it does not know
//!
//! What is measured with it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::transport::http::call;

use super::children::Owned;
use super::{Fail, failed, this_program};

/// How long a request to it may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node that ends with this value.
pub(super) struct Node {
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// From its first instruction until it listens.
    pub(super) took: Duration,
    /// Held open: a node that prints must not find its reader gone.
    _output: BufReader<ChildStdout>,
    process: Owned,
}

impl Node {
    /// Starts one over this registry, with this configuration.
    pub(super) fn start(data: &Path, config: &str) -> Result<Node, Fail> {
        let error = |error: std::io::Error| failed(format!("cannot start a node: {error}"));
        let file = data.with_extension("toml");
        std::fs::write(&file, config).map_err(error)?;
        let mut command = Command::new(this_program()?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(file).arg("--data").arg(data);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("GONIEC_")) {
            command.env_remove(name);
        }
        command.env("RUST_LOG", "off").stdin(Stdio::null()).stdout(Stdio::piped());
        let began = Instant::now();
        let (process, pipes) = Owned::start(&mut command).map_err(error)?;
        let mut output = BufReader::new(pipes.stdout.ok_or_else(|| failed("a node without an output"))?);
        let mut line = String::new();
        output.read_line(&mut line).map_err(error)?;
        let took = began.elapsed();
        let url = line.split_whitespace().find_map(|word| word.strip_prefix("http://"));
        let address = url.and_then(|address| address.trim_end_matches(',').parse().ok());
        let address = address.ok_or_else(|| failed(format!("the node says {line:?} and no address")))?;
        Ok(Node { address, took, _output: output, process })
    }

    /// Its resident memory, in bytes; `None` where the system does not tell.
    pub(super) fn memory_bytes(&self) -> Option<u64> {
        self.status_bytes("VmRSS:")
    }

    /// The most resident memory that it has had since its start, in bytes; `None` where the system does not tell.
    pub(super) fn memory_peak_bytes(&self) -> Option<u64> {
        self.status_bytes("VmHWM:")
    }

    fn status_bytes(&self, name: &str) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.pid())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
    }

    /// How many messages it has delivered since its start.
    pub(super) fn delivered(&self) -> Result<u64, Fail> {
        let stats = self.ask("GET", "/v1/stats", &[], &[])?;
        let delivered = stats.get("delivered").and_then(serde_json::Value::as_u64);
        delivered.ok_or_else(|| failed("the node does not tell what it has delivered"))
    }

    /// Asks it for something that has no body.
    pub(super) fn post(&self, path: &str) -> Result<(), Fail> {
        self.ask("POST", path, &[], &[]).map(drop)
    }

    /// Asks it for anything; the answer is the JSON that it says, or null where it says none.
    pub(super) fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<serde_json::Value, Fail> {
        let answer = call(method, &format!("http://{}{path}", self.address), headers, body, PATIENCE);
        let answer = answer.map_err(|failure| failed(failure.detail.to_string()))?;
        match answer.status {
            200..=299 => Ok(serde_json::from_slice(&answer.body).unwrap_or_default()),
            status => Err(failed(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&answer.body)))),
        }
    }

    /// Ends it as an administrator does.
    pub(super) fn stop(self) -> Result<(), Fail> {
        if self.process.stop() { Ok(()) } else { Err(failed("a node that was asked to end did not")) }
    }
}
