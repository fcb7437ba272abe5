//! What an attempt spent its time on, against peers that hold one phase up and then another.
//!
//! Each phase is held to take as long as its peer held it up, and all of them together no longer than the attempt: time that was put to the wrong
//! phase is missing in its own.

use std::thread::sleep;

use goniec::model::{Phase, Phases};

use super::*;

const LONG: Duration = Duration::from_millis(300);
const SHORT: Duration = Duration::from_millis(120);

/// What this attempt spent its time on.
#[track_caller]
fn spent(http: &Http, message: &Message, deadline: Duration) -> Phases {
    let begun = Instant::now();
    let phases = http.send(message, deadline).phases().expect("it was a request");
    let (whole_us, tenths) = (begun.elapsed().as_micros(), Phase::ALL.map(|phase| phases.tenths(phase).unwrap_or(0)));
    assert!(u128::from(tenths.iter().sum::<u32>()) * 100 <= whole_us, "{tenths:?} of {whole_us} us");
    phases
}

/// What is kept of a time is at most a sixty-fourth too short.
#[track_caller]
fn took(phases: &Phases, phase: Phase, held: Duration) {
    let ms = phases.ms(phase).expect("it happened");
    assert!(ms >= held.as_secs_f64() * 1_000.0 * 63.0 / 64.0, "{phase:?} took {ms} ms, held for {held:?}");
}

fn happened(phases: &Phases) -> Vec<&'static str> {
    Phase::ALL.into_iter().filter(|phase| phases.tenths(*phase).is_some()).map(Phase::name).collect()
}

#[test]
fn the_wait_and_the_rest_of_an_answer_are_told_apart_and_so_is_a_kept_connection() {
    let peer = Peer::start(|line| {
        while line.request().is_some() {
            sleep(LONG);
            line.send("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no");
            sleep(SHORT);
            line.send("k");
        }
    });
    let http = Http::post(&peer.url("/"));
    for (is_reused, expect) in
        [(false, vec!["connect", "send", "wait", "receive"]), (true, vec!["send", "wait", "receive"])]
    {
        let phases = spent(&http, &order(), PATIENCE);
        assert_eq!((phases.is_reused, happened(&phases)), (is_reused, expect));
        took(&phases, Phase::Wait, LONG);
        took(&phases, Phase::Receive, SHORT);
    }
    assert_eq!(peer.connections(), 1);
}

#[test]
fn a_body_that_is_taken_late_was_sent_for_so_long() {
    let peer = Peer::start(|line| {
        line.wait_for_bytes();
        sleep(LONG);
        line.request();
        sleep(SHORT);
        line.send(OK);
    });
    // More than all buffers on the way hold.
    let phases = spent(&Http::post(&peer.url("/")), &big(24 << 20), PATIENCE);
    took(&phases, Phase::Send, LONG);
    took(&phases, Phase::Wait, SHORT);
}

#[test]
fn an_attempt_that_fails_ends_in_the_phase_in_which_it_failed() {
    let silent = Peer::start(|line| line.hold(Duration::from_secs(5)));
    let deaf = Peer::start(|line| {
        line.wait_for_bytes();
        sleep(LONG * 2);
    });
    let cut = Peer::start(|line| {
        line.request();
        line.send("HTTP/1.1 200 O");
    });
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let secure = silent.url("/").replace("http:", "https:");
    for (url, message, expect, held) in [
        (format!("http://{gone}/"), order(), vec!["connect"], Duration::ZERO),
        (secure, order(), vec!["connect", "tls"], LONG),
        (deaf.url("/"), big(24 << 20), vec!["connect", "send"], LONG),
        (silent.url("/"), order(), vec!["connect", "send", "wait"], LONG),
        (cut.url("/"), order(), vec!["connect", "send", "wait", "receive"], Duration::ZERO),
    ] {
        let phases = spent(&Http::post(&url), &message, LONG);
        assert_eq!(happened(&phases), expect, "{url}");
        took(&phases, phases.last().expect("one"), held);
    }
}

#[test]
fn nothing_is_told_of_what_never_became_a_request() {
    assert_eq!(Http::post("nonsense").send(&order(), PATIENCE).phases(), None);
    let closure = |_: &Message| ();
    assert_eq!(closure.send(&order(), PATIENCE).phases(), None);
}
