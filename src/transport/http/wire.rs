//! The socket under a request: a connector and a transport for ureq.
//!
//! It differs from ureq's own in four things. It counts the bytes that the kernel took, which is what tells "surely not sent" from
//! "may have arrived". It keeps the deadline of the [attempt](super::attempt) itself. It sends the head and the body of a request with one
//! call instead of two, and sets socket time-outs and looks at kept connections only when that changes something. And when the peer answers early, before it has taken the whole request, the answer is read.
//!
//! # What holds
//!
//! * Nothing is written before something is awaited or [`HOLD_BYTES_MAX`] are held back.
//! * A connection is used again only after an answer that was read whole, over which the whole request was sent.
//!
//! # What it does not know
//!
//! HTTP, TLS, messages.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, NextTimeout, ShutdownHandle, Transport as UreqTransport,
};
use ureq::{Error, Timeout};

use super::attempt;
use super::buffers::WireBuffers;
use crate::model::Phase;

/// Held back before it is written, at most, in bytes.
const HOLD_BYTES_MAX: usize = 48 << 10;

/// How much longer than asked a socket time-out may be, so that it need not be set anew for every request.
const SLACK: Duration = Duration::from_millis(40);

/// How often a write that blocks looks whether the peer has answered already.
const WRITE_LOOK: Duration = Duration::from_millis(100);

/// Makes connections.
#[derive(Debug)]
pub(super) struct WireConnector {
    /// The time for TCP and TLS together.
    pub(super) connect: Duration,
}

/// Notes that the connection stands: the last link of the chain.
#[derive(Debug)]
pub(super) struct Stands;

/// A connection that stands. It is above TLS, whose own bytes are no answer, and notes when the first byte of one has come.
#[derive(Debug)]
pub(super) struct Standing<In>(In);

/// One connection.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Arc<TcpStream>,
    buffers: WireBuffers,
    read_granted: Option<Duration>,
    write_granted: Option<Duration>,
    /// The peer takes no more of this request; what it has said of it is still to be read.
    deaf: Option<ErrorKind>,
    /// The connection rests in the pool.
    idle: bool,
    /// What can be read may be TLS's own: session tickets come unasked, and are no answer.
    is_tls: bool,
}

impl<In: UreqTransport> Connector<In> for WireConnector {
    type Out = Wire;

    fn connect(&self, details: &ConnectionDetails, _chained: Option<In>) -> Result<Option<Wire>, Error> {
        attempt::enter(Phase::Connect, Some(self.connect));
        let stream = Arc::new(connect_any(&details.addrs)?);
        stream.set_nodelay(true)?;
        (details.register_shutdown)(Arc::downgrade(&stream) as Weak<dyn ShutdownHandle>)?;
        if details.needs_tls() {
            let left = attempt::current().until.saturating_duration_since(Instant::now());
            attempt::enter(Phase::Tls, Some(left));
        }
        let wire = Wire {
            stream,
            buffers: WireBuffers::default(),
            read_granted: None,
            write_granted: None,
            deaf: None,
            idle: false,
            is_tls: details.needs_tls(),
        };
        Ok(Some(wire))
    }
}

impl<In: UreqTransport> Connector<In> for Stands {
    type Out = Standing<In>;

    fn connect(&self, _details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Standing<In>>, Error> {
        attempt::enter(Phase::Send, None);
        Ok(chained.map(Standing))
    }
}

impl<In: UreqTransport> UreqTransport for Standing<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let is_there = self.0.await_input(timeout)?;
        if is_there {
            attempt::go_on(Phase::Wait, Phase::Receive);
        }
        Ok(is_there)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

/// The first address that takes the connection. Each gets an equal share of what time is left.
fn connect_any(addresses: &[SocketAddr]) -> Result<TcpStream, Error> {
    let until = attempt::current().until;
    let mut last = Error::HostNotFound;
    for (position, address) in addresses.iter().enumerate() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Timeout(Timeout::Connect));
        }
        let share = left / u32::try_from(addresses.len() - position).unwrap_or(1).max(1);
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) if is_timeout(error.kind()) => last = Error::Timeout(Timeout::Connect),
            Err(error) => last = Error::Io(error),
        }
    }
    Err(last)
}

impl Wire {
    /// Writes what is held back. A peer that takes no more but may have answered is not an error yet.
    fn flush(&mut self) -> Result<(), Error> {
        let mut done = 0;
        while self.deaf.is_none() {
            let Some(rest) = self.buffers.held().get(done..).filter(|rest| !rest.is_empty()) else { break };
            let left = attempt::current().until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.deaf = Some(ErrorKind::TimedOut);
                return Err(Error::Timeout(Timeout::Global));
            }
            grant(&mut self.write_granted, left.min(WRITE_LOOK), |granted| {
                self.stream.set_write_timeout(Some(granted))
            })?;
            match (&*self.stream).write(rest) {
                Ok(written) => {
                    attempt::left(written);
                    done += written;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_timeout(error.kind()) => {
                    if !self.is_tls && self.has_input()? {
                        self.deaf = Some(ErrorKind::BrokenPipe);
                    }
                }
                Err(error) => {
                    self.deaf = Some(error.kind());
                    if attempt::current().left_bytes == 0 {
                        return Err(Error::Io(error));
                    }
                }
            }
        }
        self.buffers.drop_held();
        Ok(())
    }

    /// Whether bytes, an end or an error wait to be read.
    fn has_input(&self) -> Result<bool, Error> {
        self.stream.set_nonblocking(true)?;
        let seen = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false)?;
        Ok(!seen.is_err_and(|error| error.kind() == ErrorKind::WouldBlock))
    }

    fn read(&mut self) -> Result<usize, Error> {
        loop {
            let left = attempt::current().until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Timeout(Timeout::Global));
            }
            grant(&mut self.read_granted, left, |granted| self.stream.set_read_timeout(Some(granted)))?;
            let room = self.buffers.input_append_buf();
            if room.is_empty() {
                return Err(Error::Io(std::io::Error::new(ErrorKind::InvalidData, "a line of it never ends")));
            }
            match (&*self.stream).read(room) {
                Ok(0) if self.deaf.is_some() => return Err(Error::Io(ErrorKind::ConnectionReset.into())),
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == ErrorKind::Interrupted || is_timeout(error.kind()) => {}
                Err(error) => return Err(Error::Io(error)),
            }
        }
    }
}

impl UreqTransport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _timeout: NextTimeout) -> Result<(), Error> {
        self.idle = false;
        self.buffers.hold(amount);
        if self.buffers.held().len() < HOLD_BYTES_MAX && self.deaf.is_none() {
            return Ok(());
        }
        self.flush()
    }

    fn await_input(&mut self, _timeout: NextTimeout) -> Result<bool, Error> {
        self.flush()?;
        attempt::go_on(Phase::Send, Phase::Wait);
        let read = self.read()?;
        attempt::heard(read);
        self.buffers.input_appended(read);
        Ok(read > 0)
    }

    /// ureq asks twice: when it puts the connection by, where the answer was just read whole and nothing can be known yet, and when it
    /// takes it up again, where a peer that has closed it meanwhile shows.
    fn is_open(&mut self) -> bool {
        if self.deaf.is_some() || !self.buffers.held().is_empty() {
            return false;
        }
        if !self.idle {
            self.idle = true;
            return true;
        }
        let open = !self.has_input().unwrap_or(true);
        if open {
            attempt::enter(Phase::Send, None);
        }
        open
    }
}

/// Sets a socket time-out unless the one that is set is as good.
fn grant(
    granted: &mut Option<Duration>,
    wanted: Duration,
    set: impl FnOnce(Duration) -> std::io::Result<()>,
) -> Result<(), Error> {
    if granted.is_some_and(|granted| granted >= wanted && granted <= wanted + SLACK) {
        return Ok(());
    }
    let chosen = wanted + SLACK / 2;
    set(chosen)?;
    *granted = Some(chosen);
    Ok(())
}

fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
