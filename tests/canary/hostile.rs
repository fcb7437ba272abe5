//! Destinations, issuers of tokens and mail servers that send back whatever they were shown, in every place where an answer has one and in every spelling.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::peer::{Peer, Request};

/// What a message asks its destination to do, in `do` of its body.
pub const MANNERS: [&str; 10] = ["yes", "no", "down", "text", "moved", "hang", "reset", "noise", "cut", "unauthorised"];
/// Longer than an attempt may take.
const HANG: Duration = Duration::from_secs(3);
/// The most of an answer that is kept, less a little: what follows is cut in the middle.
const ALMOST_EXCERPT_BYTES: usize = 2_040;

/// How many tokens were given out.
static TOKENS: AtomicUsize = AtomicUsize::new(0);

/// What the other side was shown: the values alone, as a peer that wants to spread them takes them out.
fn shown(request: &Request) -> Vec<String> {
    let mut values = Vec::new();
    for name in ["authorization", "cookie", "x-api-key"] {
        for value in request.header(name).into_iter().flat_map(|value| value.split(['=', ';'])).map(str::trim) {
            values.extend([value.to_owned(), value.rsplit(' ').next().unwrap().to_owned()]);
        }
    }
    if let Some(basic) = request.header("authorization").and_then(|value| value.strip_prefix("Basic ")) {
        let pair = String::from_utf8(STANDARD.decode(basic).unwrap()).unwrap();
        values.extend([basic.to_owned(), pair.split_once(':').unwrap().1.to_owned(), pair]);
    }
    let target = request.head.split(' ').nth(1).unwrap_or_default();
    let body = String::from_utf8_lossy(&request.body).into_owned();
    for pairs in [target.split_once('?').unwrap_or_default().1, if body.starts_with('{') { "" } else { &body }] {
        values.extend(pairs.split('&').filter_map(|pair| Some(pair.split_once('=')?.1.to_owned())));
    }
    if let Ok(Value::Object(fields)) = serde_json::from_str(&body) {
        values.extend(fields.values().filter_map(|value| value.as_str().map(str::to_owned)));
    }
    values.extend([target.to_owned(), body]);
    values.retain(|value| !value.is_empty());
    values
}

/// All of it in every spelling, in one text.
fn echo(request: &Request) -> String {
    let mut words = vec!["kanarek-told".to_owned()];
    for value in shown(request) {
        let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
        let percent: String = value.bytes().map(percent).collect();
        // What holds more than a secret is no spelling of one.
        let others = if value.contains(['?', '{', '&']) { vec![] } else { vec![hex, percent, STANDARD.encode(&value)] };
        words.push(value);
        words.extend(others);
    }
    words.join(" ")
}

fn percent(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

/// A peer that takes messages, gives out tokens and sessions, is asked after messages, and is told of alerts.
pub fn peer() -> Peer {
    Peer::start(|line| {
        while let Some(request) = line.request() {
            let said =
                json!({ "said": echo(&request), "error": "no", "error_description": echo(&request) }).to_string();
            let target = request.head.split(' ').nth(1).unwrap_or_default().to_owned();
            let (path, _) = target.split_once('?').unwrap_or((&target, ""));
            let number = TOKENS.fetch_add(1, Ordering::SeqCst);
            let sent = match path {
                "/token/yes" => {
                    let tokens = json!({
                        "access_token": format!("canary-access-{number}"), "refresh_token": format!("canary-refresh-{number}"), "expires_in": 3_600,
                    });
                    answer("200 OK", "", &tokens.to_string())
                }
                "/login/yes" => {
                    let cookies =
                        format!("set-cookie: SESSION=canary-cookie-{number}; HttpOnly\r\nset-cookie: NODE=2\r\n");
                    answer("200 OK", &cookies, "{}")
                }
                "/token/no" | "/login/no" => answer("401 Unauthorized", "", &said),
                "/token/mute" | "/login/mute" => answer("200 OK", "", &echo(&request)),
                "/probe/there" => answer("200 OK", "", &said.replacen('{', "{\"found\":true,", 1)),
                "/list" => answer("200 OK", "", &said),
                "/probe/down" => answer("500 Broken", "", &said),
                "/deliver" => match manner(&request) {
                    "hang" => return line.hold(HANG),
                    "reset" => return line.reset(),
                    manner => delivered(manner, &request, &said),
                },
                _ => answer("500 Broken", "", &said),
            };
            if !line.send(sent) {
                return;
            }
        }
    })
}

/// What the message asks for: some of it comes in a batch, or shaped.
fn manner(request: &Request) -> &'static str {
    let body = String::from_utf8_lossy(&request.body).into_owned();
    MANNERS.into_iter().find(|manner| body.contains(&format!("\"do\":\"{manner}\""))).unwrap_or("no")
}

fn delivered(manner: &str, request: &Request, said: &str) -> String {
    match manner {
        "yes" => answer("200 OK", "", said),
        "no" => answer("400 Bad Request", "", said),
        "down" => answer("503 Service Unavailable", "retry-after: 0\r\n", said),
        "text" => answer("500 Broken", "content-type: text/html\r\n", &format!("<p>{}</p>", echo(request))),
        "moved" => {
            let first = shown(request).into_iter().next().unwrap_or_default();
            let place: String = first.bytes().map(percent).collect();
            answer("302 Found", &format!("location: http://127.0.0.1:9/?{}{place}\r\n", "x".repeat(190)), "")
        }
        "noise" => format!("{} is no HTTP\r\n\r\n", echo(request)),
        "cut" => {
            let first = shown(request).into_iter().next().unwrap_or_default();
            answer("500 Broken", "", &format!("{}{first}", "y".repeat(ALMOST_EXCERPT_BYTES)))
        }
        _ => answer("401 Unauthorized", "", said),
    }
}

/// A mail server that refuses the login, with all that it was shown.
pub fn mail_server() -> Peer {
    Peer::start(|line| {
        let mut lines = BufReader::new(line.stream.try_clone().unwrap());
        let say = |stream: &mut TcpStream, words: &str| stream.write_all(format!("{words}\r\n").as_bytes()).is_ok();
        let _ = say(&mut line.stream, "220 mail");
        let mut heard = String::new();
        while lines.read_line(&mut heard).is_ok_and(|read| read > 0) {
            let words = heard.trim().to_owned();
            heard.clear();
            let said = match words.split(' ').next().unwrap_or_default() {
                "EHLO" | "HELO" => "250-mail\r\n250 AUTH PLAIN LOGIN".to_owned(),
                "AUTH" => {
                    let plain = words.rsplit(' ').next().unwrap_or_default();
                    let decoded =
                        STANDARD.decode(plain).map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
                    format!("535 5.7.8 not {words} {}", decoded.unwrap_or_default())
                }
                _ => "250 ok".to_owned(),
            };
            if !say(&mut line.stream, &said) {
                return;
            }
        }
    })
}
