//! Deliveries over loopback: the transport beside a bare ureq loop with its best settings (an own resolver, a pool as large as the
//! number of threads), and beside itself with a rule over the answer's body, against the same server, in turns. Prints requests a second
//! and the ratios.
//!
//! `cargo bench --bench http -- [SECONDS [THREADS [BYTES]]]`

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use goniec::model::{NodeTag, Place, WallMs};
use goniec::transport::Transport;
use goniec::transport::answer::{Answers, Meaning, Rule};
use goniec::transport::http::Http;
use goniec::{Id, Message, Outcome};
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

const ROUNDS: usize = 5;

/// What the server says to everything.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 30\r\n\r\n{\"status\":\"SUCCESS\",\"id\":4711}";

#[derive(Debug)]
struct Fixed(SocketAddr);

impl Resolver for Fixed {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut found = self.empty();
        found.push(self.0);
        Ok(found)
    }
}

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|text| text.parse::<u64>().ok());
    let time = Duration::from_secs(numbers.next().unwrap_or(2));
    let threads = numbers.next().unwrap_or(8);
    let bytes = usize::try_from(numbers.next().unwrap_or(1024)).expect("a size");
    let address = serve();
    let url = format!("http://{address}/orders");

    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .max_idle_connections(256)
        .max_idle_connections_per_host(256)
        .timeout_global(Some(Duration::from_secs(30)))
        .build();
    let bare = Agent::with_parts(config, DefaultConnector::default(), Fixed(address));
    let http = Http::post(&url);
    let draft = Message::to("erp")
        .key("order:17")
        .kind("order.created")
        .content_type("application/json")
        .body(vec![b'x'; bytes]);
    let message = Message {
        id: Id::compose(WallMs(1_790_000_000_000), NodeTag::new(7), Place::new(1, 2)),
        attempt: 1,
        revision: 1,
        content_type: draft.envelope.content_type.clone(),
        envelope: Arc::new(draft.envelope),
        body: draft.body,
    };

    let rule = Rule::parse(Some("2xx"), Some(".status == \"SUCCESS\""), None).expect("a rule");
    let answers = Answers::new().rule(Meaning::Success, rule).remote_id(".body.id").expect("a filter");
    let ruled = Http::post(&url).answers(answers);
    let (mut ratios, mut costs) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let bare_rate = rate(time, threads, || {
            let mut answer = bare.post(&url).content_type("application/json").send(&*message.body).expect("an answer");
            answer.body_mut().read_to_vec().expect("a body");
        });
        let http_rate = rate(time, threads, || {
            let outcome = http.send(&message, Duration::from_secs(30));
            assert!(matches!(outcome, Outcome::Delivered(_)), "{outcome:?}");
        });
        let ruled_rate = rate(time, threads, || {
            let outcome = ruled.send(&message, Duration::from_secs(30));
            assert!(matches!(outcome, Outcome::Delivered(_)), "{outcome:?}");
        });
        let (ratio, cost) = (http_rate / bare_rate, ruled_rate / http_rate);
        println!(
            "round {round}: bare ureq {bare_rate:.0}/s, transport {http_rate:.0}/s ({ratio:.2} of bare), with a rule {ruled_rate:.0}/s ({cost:.2} of without)"
        );
        ratios.push(ratio);
        costs.push(cost);
    }
    ratios.sort_by(f64::total_cmp);
    costs.sort_by(f64::total_cmp);
    println!("median with a rule {:.2} of without", costs[ROUNDS / 2]);
    println!("median ratio {:.2} ({threads} threads, {bytes} bytes)", ratios[ROUNDS / 2]);
}

fn rate(time: Duration, threads: u64, call: impl Fn() + Sync) -> f64 {
    let (count, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    call();
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // The time that is measured.
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
    });
    let calls = u32::try_from(count.load(Ordering::Relaxed)).expect("a count");
    f64::from(calls) / begun.elapsed().as_secs_f64()
}

/// A server that looks at nothing but the end of the head and the length.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    stream.set_nodelay(true).expect("an option");
    let (mut held, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        if let Some(end) = held.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&held[..end]).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
            let whole = end + 4 + length.unwrap_or(0_usize);
            if held.len() >= whole {
                held.drain(..whole);
                if stream.write_all(ANSWER).is_err() {
                    return;
                }
                continue;
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(read) => held.extend_from_slice(&chunk[..read]),
        }
    }
}
