//! What the service manager is told: that the node is ready, that it stops, and that it still lives.
//!
//! The protocol of systemd is a datagram of a few words to the socket that `NOTIFY_SOCKET` names. Without that, nobody is told anything.
//!
//! # What holds
//!
//! * The sign of life says that the scheduler goes round, not merely that the process is there: it is sent only where a beat came since the last one.
//! * A manager that does not listen hinders nothing.
//!
//! # What it does not know
//!
//! What the node does.

use std::time::{Duration, Instant};

/// The service manager, if there is one.
pub(super) struct Manager {
    socket: Option<socket::Socket>,
    /// How often it wants a sign of life.
    every: Option<Duration>,
    told: Option<(u64, Instant)>,
}

impl Manager {
    /// The one that the environment names.
    pub(super) fn of_environment() -> Manager {
        let var = |name: &str| std::env::var(name).ok();
        let is_ours = var("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
        let micros = var("WATCHDOG_USEC").and_then(|micros| micros.parse().ok()).filter(|_| is_ours);
        Manager {
            socket: var("NOTIFY_SOCKET").and_then(|name| socket::open(&name)),
            // Three signs in the time in which one must come.
            every: micros.map(|micros: u64| Duration::from_micros(micros / 3)),
            told: None,
        }
    }

    /// Messages are taken and delivered from now on.
    pub(super) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// Nothing new is taken from now on.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=what is out comes home");
    }

    /// The scheduler has gone round so often; says that it lives, where it has and it is time to.
    pub(super) fn beat(&mut self, beats: u64) {
        let Some(every) = self.every else { return };
        let now = Instant::now();
        if self.told.is_none_or(|(before, at)| beats > before && now.duration_since(at) >= every) {
            self.told = Some((beats, now));
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, words: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(words.as_bytes())
        {
            log::debug!("the service manager does not hear: {error}");
        }
    }
}

#[cfg(target_os = "linux")]
mod socket {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    pub(super) type Socket = UnixDatagram;

    /// The socket of this name; one that begins with `@` lies in no folder.
    pub(super) fn open(name: &str) -> Option<Socket> {
        let addr = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name),
            None => SocketAddr::from_pathname(name),
        };
        let socket = UnixDatagram::unbound().and_then(|socket| {
            socket.connect_addr(&addr?)?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        socket.inspect_err(|error| log::warn!("cannot reach the service manager at {name:?}: {error}")).ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod socket {
    pub(super) enum Socket {}

    impl Socket {
        pub(super) fn send(&self, _: &[u8]) -> std::io::Result<usize> {
            match *self {}
        }
    }

    /// There is no systemd elsewhere.
    pub(super) fn open(_: &str) -> Option<Socket> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn a_scheduler_that_stands_still_gives_no_sign_of_life() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let heard = UnixDatagram::bind(&path).expect("a socket");
        heard.set_nonblocking(true).expect("a socket");
        let signs = || {
            let mut words = [0; 64];
            std::iter::from_fn(|| heard.recv(&mut words).ok()).count()
        };
        let socket = socket::open(path.to_str().expect("text"));
        let mut manager = Manager { socket, every: Some(Duration::ZERO), told: None };
        manager.beat(1);
        manager.beat(2);
        assert_eq!(signs(), 2);
        manager.beat(2);
        manager.beat(2);
        assert_eq!(signs(), 0, "it stands still");
        manager.beat(3);
        assert_eq!(signs(), 1);
        let mut unwatched = Manager { every: None, ..manager };
        unwatched.beat(4);
        assert_eq!(signs(), 0);
    }
}
