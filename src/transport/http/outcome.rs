//! What became of a request: from ureq's errors and answers to the words of the registry.
//!
//! # What holds
//!
//! * `Sent::No` needs proof: the connection never stood, or the kernel took no byte of the request.
//! * Every text names the peer and says what happened, for someone who has never read this code.
//! * Nothing that came in the URL's path or query, in a header or in a body of ours is in a text.
//!
//! # What it does not know
//!
//! When a message is tried again.

use std::io::{self, ErrorKind};
use std::time::Duration;

use rustls::AlertDescription;
use ureq::Error;
use ureq::http::StatusCode;

use super::attempt::Attempt;
use crate::model::policy::disposition;
use crate::model::{Class, Failure, Phase, Sent};

/// The times that the texts name.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// For finding the address.
    pub(super) resolve: Duration,
    /// For TCP and TLS together.
    pub(super) connect: Duration,
    /// For all of it.
    pub(super) deadline: Duration,
}

/// What a request without an answer is written down as.
pub(super) fn broken(error: &Error, attempt: &Attempt, peer: &str, limits: Limits, is_stopping: bool) -> Failure {
    let sent = if attempt.is_connected() && attempt.left_bytes > 0 { Sent::Maybe } else { Sent::No };
    if is_stopping {
        return Failure::new(Class::Interrupted, sent, format!("goniec stopped while {peer} was asked"));
    }
    if let Error::BadUri(_) | Error::Http(_) | Error::RequireHttpsOnly(_) | Error::TlsRequired = error {
        return Failure::new(Class::Setup, sent, format!("the request to {peer} cannot be made: {error}"));
    }
    if let Some(alert) = turned_away(error, attempt) {
        return Failure::new(
            Class::Tls,
            Sent::No,
            format!("{peer} turned goniec away in the TLS handshake: {alert:?}"),
        );
    }
    let is_timeout = is_timeout(error);
    let (class, words) = match attempt.phase {
        Phase::Dns => (Class::Dns, unresolved(error, is_timeout, limits)),
        Phase::Connect if is_timeout => {
            (Class::Connect, format!("took no connection within {}", shown(limits.connect.min(limits.deadline))))
        }
        Phase::Connect => (Class::Connect, unconnected(error)),
        Phase::Tls if is_timeout => (
            Class::Tls,
            format!("did not finish the TLS handshake within {}", shown(limits.connect.min(limits.deadline))),
        ),
        Phase::Tls => (Class::Tls, format!("failed the TLS handshake: {}", cause(error))),
        Phase::Send | Phase::Wait | Phase::Receive if is_timeout => (Class::Timeout, late(attempt, limits)),
        Phase::Send | Phase::Wait | Phase::Receive => (Class::Protocol, cut(error, attempt)),
    };
    Failure::new(class, sent, format!("{peer} {words}"))
}

/// What an answer that says no is written down as.
pub(super) fn refused(status: StatusCode, peer: &str, location: Option<&str>) -> Failure {
    let (_, class) = disposition(status.as_u16());
    let mut detail = format!("{peer} answered {}", status.as_u16());
    if let Some(name) = status.canonical_reason() {
        detail.push_str(&format!(" {name}"));
    }
    if class == Class::Redirect {
        match location {
            Some(location) => detail.push_str(&format!(", a redirect, which is not followed, to {location}")),
            None => detail.push_str(", a redirect to nowhere"),
        }
    }
    Failure { status: Some(status.as_u16()), ..Failure::new(class, Sent::Answered, detail) }
}

fn unresolved(error: &Error, is_timeout: bool, limits: Limits) -> String {
    if is_timeout {
        return format!("did not resolve within {}", shown(limits.resolve.min(limits.deadline)));
    }
    format!("does not resolve: {}", cause(error))
}

fn unconnected(error: &Error) -> String {
    match kind(error) {
        Some(ErrorKind::ConnectionRefused) => "refused the connection".into(),
        Some(ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted) => "broke the connection at once".into(),
        Some(ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown) => {
            format!("cannot be reached: {}", cause(error))
        }
        Some(_) | None => format!("took no connection: {}", cause(error)),
    }
}

fn late(attempt: &Attempt, limits: Limits) -> String {
    let within = shown(limits.deadline);
    if attempt.left_bytes == 0 {
        format!("took nothing of the request within {within}")
    } else if attempt.heard_bytes == 0 {
        format!("did not answer within {within}")
    } else {
        format!("did not finish its answer within {within}")
    }
}

fn cut(error: &Error, attempt: &Attempt) -> String {
    match (error, kind(error)) {
        (Error::LargeResponseHeader(_, most), _) => format!("answered with a head of more than {most} bytes"),
        (Error::Protocol(what), _) => format!("answered with what is not HTTP: {what}"),
        (
            _,
            Some(
                ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe,
            ),
        ) => {
            let when = match (attempt.left_bytes, attempt.heard_bytes) {
                (0, _) => "before it took the request",
                (_, 0) => "before it answered",
                (_, _) => "in the middle of its answer",
            };
            format!("closed the connection {when}")
        }
        (_, _) => format!("broke off: {}", cause(error)),
    }
}

fn is_timeout(error: &Error) -> bool {
    matches!(error, Error::Timeout(_)) || matches!(kind(error), Some(ErrorKind::TimedOut | ErrorKind::WouldBlock))
}

/// An alert in TLS 1.3, with the head of its record, its type and its seal, in bytes.
const ALERT_BYTES: u64 = 24;

/// The alert of a peer that does not take goniec's certificate, or wants one. In TLS 1.3 it comes when the request has left already; but who
/// sends it has not ended the handshake, and has read nothing of the request. That holds only where it is all that was heard over a connection
/// of this attempt's own: any other alert may come after the request was taken.
fn turned_away(error: &Error, attempt: &Attempt) -> Option<AlertDescription> {
    let is_of_handshake = !attempt.is_connected() || (attempt.is_fresh && attempt.heard_bytes == ALERT_BYTES);
    if !is_of_handshake {
        return None;
    }
    let Error::Io(error) = error else { return None };
    let Some(rustls::Error::AlertReceived(alert)) = error.get_ref()?.downcast_ref() else { return None };
    let is_about_us = matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::HandshakeFailure
            | AlertDescription::DecryptError
    );
    is_about_us.then_some(*alert)
}

fn kind(error: &Error) -> Option<ErrorKind> {
    if let Error::Io(error) = error { Some(error.kind()) } else { None }
}

fn cause(error: &Error) -> String {
    if let Error::Io(error) = error { innermost(error) } else { error.to_string() }
}

fn innermost(error: &io::Error) -> String {
    error.get_ref().map_or_else(|| error.to_string(), ToString::to_string)
}

/// A time as people write it: `250ms`, `5s`.
fn shown(time: Duration) -> String {
    let ms = time.as_millis();
    if ms.is_multiple_of(1_000) { format!("{}s", ms / 1_000) } else { format!("{ms}ms") }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn an_alert_proves_that_nothing_was_read_only_in_the_handshake_of_the_attempt() {
        let own = Attempt {
            phase: Phase::Wait,
            is_fresh: true,
            left_bytes: 900,
            heard_bytes: ALERT_BYTES,
            ..Attempt::until(Instant::now())
        };
        let limit = Duration::from_secs(1);
        let limits = Limits { resolve: limit, connect: limit, deadline: limit };
        for (attempt, sent) in [
            (own, Sent::No),
            (Attempt { is_fresh: false, ..own }, Sent::Maybe),
            (Attempt { heard_bytes: ALERT_BYTES + 300, ..own }, Sent::Maybe),
        ] {
            let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
            let error = Error::Io(io::Error::new(ErrorKind::InvalidData, alert));
            let failure = broken(&error, &attempt, "shop:443", limits, false);
            assert_eq!(failure.sent, sent, "{attempt:?}: {}", failure.detail);
        }
    }
}
