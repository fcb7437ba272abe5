//! Bodies that fill the memory for bodies, and a shop that is heard meanwhile.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::senders::{SECRETS, WOOCOMMERCE};
use super::world::World;

const PEER: &str = "[source.peer]\nverify = { preset = \"goniec\", secret = { file = \"NEW\" } }\n";
const BUS: &str = "[source.bus]\nverify = { preset = \"hmac\", header = \"x-signed\", secret = { file = \"NEW\" }, encoding = \"hex\" }\n";

/// Bodies of so many bytes, of which the last byte never comes, from this address of the machine.
fn stalled(world: &World, from: [u8; 4], source: &str, count: usize, length: usize) -> Vec<TcpStream> {
    let head = format!("POST /v1/in/{source} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {length}\r\n\r\n");
    let request = [head.into_bytes(), vec![b' '; length - 1]].concat();
    let begun = (0..count).map(|_| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((from, 0)).into()).expect("bound");
        socket.connect(&world.address().parse::<SocketAddr>().expect("an address").into()).expect("connects");
        let mut stream = TcpStream::from(socket);
        stream.set_write_timeout(Some(Duration::from_secs(10))).expect("a limit");
        // Who has to make way is not read to its end.
        let _ = stream.write_all(&request);
        stream.set_nonblocking(true).expect("it does not block");
        stream
    });
    begun.collect()
}

/// Whether one of them was told that there is no room.
fn is_one_refused(streams: &mut [TcpStream]) -> bool {
    let mut answer = [0; 12];
    streams.iter_mut().any(|stream| stream.read_exact(&mut answer).is_ok() && answer == *b"HTTP/1.1 429")
}

/// An order, signed as the shop signs it, hears its yes.
fn ordered(world: &World, number: usize) {
    let sign = WOOCOMMERCE.ready().expect("python3 signs");
    let (id, body) = (format!("d-{number}"), format!(r#"{{"id":{number},"note":"{}"}}"#, "x".repeat(100)));
    let headers = WOOCOMMERCE.headers(&id, 0, &sign(SECRETS[0], &id, 0, &body));
    let answer = world.post("/v1/in/woocommerce", &headers, body.as_bytes());
    assert_eq!(answer.0, 200, "order {number}: {}", answer.1);
}

/// A peer hands over more than there is room for; the shop hears nothing of it.
#[test]
fn a_backlog_of_a_peer_takes_no_room_from_a_shop() {
    let world = World::serve(&format!("{PEER}{}", WOOCOMMERCE.config()));
    let mut frames = stalled(&world, [127, 0, 0, 1], "peer", 17, 4 << 20);
    world.until("the room of the peers is full", |_| is_one_refused(&mut frames));
    ordered(&world, 1);
}

/// Who has no secret holds all the room that there is, before any address and any source, the shop's own too: a body that is held makes way.
#[test]
fn a_stranger_who_holds_bodies_takes_no_room_from_a_shop() {
    for (from, source, count, length) in [
        ([127, 0, 0, 2], "bus", 2, 16 << 20),
        ([127, 0, 0, 2], "woocommerce", 32, 1 << 20),
        ([127, 0, 0, 1], "woocommerce", 32, 1 << 20),
    ] {
        let world = World::serve(&format!("{BUS}{}", WOOCOMMERCE.config()));
        let mut held = stalled(&world, from, source, count, length);
        let mut orders = 0;
        world.until("a body that is held makes way", |world| {
            orders += 1;
            ordered(world, orders);
            is_one_refused(&mut held)
        });
    }
}
