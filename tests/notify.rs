//! The real binary under a service manager's socket: it says when it is ready, that it lives, and when it stops.

#![cfg(all(feature = "cli", target_os = "linux"))]

use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A child that ends with the test.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_service_manager_hears_of_the_beginning_the_life_and_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket");
    let hear = || {
        let mut words = [0; 256];
        let length = manager.recv(&mut words).expect("it says something");
        String::from_utf8(words[..length].to_vec()).expect("text")
    };
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let child = Command::new(env!("CARGO_BIN_EXE_goniec"))
        .args(["serve", "--listen", &format!("127.0.0.1:{port}"), "--data"])
        .arg(folder.path().join("data"))
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "900000")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let mut node = Node(child);
    let ready = hear();
    assert!(ready.starts_with("READY=1\nSTATUS=listens on http://127.0.0.1:"), "{ready}");
    TcpStream::connect(("127.0.0.1", port)).expect("whoever says that it is ready takes connections");
    assert_eq!((hear().as_str(), hear().as_str()), ("WATCHDOG=1", "WATCHDOG=1"));

    let ended = Command::new("kill").args(["-TERM", &node.0.id().to_string()]).status().expect("kill runs");
    assert!(ended.success());
    let mut last = hear();
    while last == "WATCHDOG=1" {
        last = hear();
    }
    assert!(last.starts_with("STOPPING=1\n"), "{last}");
    assert_eq!(node.0.wait().expect("it ends").code(), Some(0));
}
