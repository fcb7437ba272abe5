//! The two nodes of docs/both-sides.md, of its own configurations: an order goes one way, a price the other, and both sides say that they agree.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use goniec::transport::http::call;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::peer::{Peer, Request};

const PAGE: &str = include_str!("../../docs/both-sides.md");
const PATIENCE: Duration = Duration::from_secs(60);
/// What the page takes out of the environment.
const SECRETS: [(&str, &str); 3] = [
    ("WOO_SECRET", "secret-of-the-shop"),
    ("ERP_TOKEN", "token-of-the-erp-system"),
    ("STREAM_SECRET", "whsec_c2VjcmV0LW9mLXRoZS1zdHJlYW0tMDEyMzQ1Njc4OQ=="),
];

/// The configuration of one side, as the page has it, where hosts stand at these addresses.
fn configuration(title: &str, hosts: &[(&str, String)]) -> String {
    let (_, from) = PAGE.split_once(&format!("\n## {title}\n")).expect("the page has it");
    let (_, from) = from.split_once("```toml\n").expect("a block");
    let toml = from.split("```").next().expect("its end").to_owned();
    hosts.iter().fold(toml, |toml, (host, at)| toml.replace(&format!("https://{host}.example"), at))
}

/// A node of the binary; ended when dropped, by its own process id.
struct Node {
    child: Child,
    url: String,
}

impl Node {
    fn serve(dir: &Path, url: &str, config: &str) -> Node {
        std::fs::create_dir(dir).expect("a directory");
        std::fs::write(dir.join("goniec.toml"), config).expect("writes");
        let mut command = Command::new(env!("CARGO_BIN_EXE_goniec"));
        command.args(["serve", "--listen", url.trim_start_matches("http://"), "--data"]).arg(dir.join("data"));
        command.arg("--config").arg(dir.join("goniec.toml")).envs(SECRETS).env("RUST_LOG", "error");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("starts");
        let node = Node { child, url: url.to_owned() };
        until("it is ready", || call("GET", &format!("{url}/readyz"), &[], b"", PATIENCE).is_ok());
        node
    }

    fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> u16 {
        let answer = call("POST", &format!("{}{path}", self.url), headers, body.as_bytes(), PATIENCE);
        answer.expect("an answer").status
    }

    /// What the verb that the page names says, where it is yes.
    fn agrees(&self, name: &str) -> Option<String> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_goniec"));
        command.args(["reconcile", name, "--url", &self.url]).stdin(Stdio::null());
        let ended = command.output().expect("runs");
        ended.status.success().then(|| String::from_utf8_lossy(&ended.stdout).into_owned())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < limit, "waited in vain: {what}");
        // The pace of a loop with a deadline.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A system that takes everything, and gives this list to whoever asks for one.
fn system(list: &'static str) -> Peer {
    let length = list.len();
    let listed = format!("HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\ncontent-length: {length}\r\n\r\n{list}");
    Peer::start(move |line| {
        while let Some(request) = line.request() {
            let is_asked = request.head.starts_with("GET /export/orders.csv ");
            line.send(if is_asked { &listed } else { "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n" });
        }
    })
}

/// What came to this path of a system.
fn at(system: &Peer, path: &str) -> Vec<Request> {
    let to = format!("POST {path} ");
    system.requests().into_iter().filter(|request| request.head.starts_with(&to)).collect()
}

#[test]
fn the_page_is_true() {
    let port = || TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let [shop_url, erp_url] = [port(), port()].map(|port| format!("http://127.0.0.1:{port}"));
    let (shop, erp, chat) = (system(""), system("order_no,changed\n17,2100-01-01T00:00:00Z\n"), system(""));
    let hosts = [
        ("goniec.shop", shop_url.clone()),
        ("goniec.erp", erp_url.clone()),
        ("shop", shop.url("")),
        ("erp", erp.url("")),
        ("chat", chat.url("")),
    ];
    let dir = tempfile::tempdir().expect("a directory");
    let shop_node = Node::serve(&dir.path().join("shop"), &shop_url, &configuration("The side of the shop", &hosts));
    let erp_node = Node::serve(&dir.path().join("erp"), &erp_url, &configuration("The side of the ERP", &hosts));

    let order = r#"{"id":17,"total":"129.00"}"#;
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRETS[0].1.as_bytes()).expect("a key");
    mac.update(order.as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let signed = [
        ("x-wc-webhook-signature", &*signature),
        ("x-wc-webhook-topic", "order.created"),
        ("x-wc-webhook-delivery-id", "d-1"),
        ("content-type", "application/json"),
    ];
    assert_eq!(shop_node.post("/v1/in/shop", &signed, order), 200);
    let price = r#"{"key":"price:sku-17","version":3,"net":"12.50"}"#;
    let bearer = format!("Bearer {}", SECRETS[1].1);
    let changed = [("authorization", &*bearer), ("x-topic", "price.changed"), ("content-type", "application/json")];
    assert_eq!(erp_node.post("/v1/in/erp", &changed, price), 202);

    let came = |system: &Peer, path: &str| at(system, path).into_iter().map(|request| request.body).collect::<Vec<_>>();
    until("the ERP has the order", || came(&erp, "/orders") == [order.as_bytes()]);
    until("the shop has the price", || came(&shop, "/api/prices") == [price.as_bytes()]);
    until("the shop hears of its order", || at(&shop, "/api/status").len() == 1);
    for (node, name, keys) in [(&shop_node, "erp-node", "1"), (&erp_node, "shop-node", "2"), (&erp_node, "orders", "1")]
    {
        until("both sides agree", || node.agrees(name).is_some_and(|said| said.contains("in-sync")));
        let said = node.agrees(name).expect("they still do");
        println!("{said}");
        assert!(said.contains(&format!("matched              {keys}")), "{said}");
    }
    assert_eq!(chat.requests().len(), 0, "nobody has to be told anything");
}
