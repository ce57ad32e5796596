//! What the kernel asks for: the echo workload by hand, on epoll alone, without tasks, wakers or timers.
//!
//! Each thread has an epoll of its own and serves both ends of its share of the connections. No runtime can be quicker with the same
//! system calls, and none can be as quick unless nothing ever moves between its threads.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
};

use crate::workload::{Measured, echo::MESSAGE};

/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// The echo workload on as many threads as there are workers, or as connections if there are fewer of those.
///
/// # Panics
///
/// When the machine is out of ports or descriptors.
pub fn echo(connections: usize, workers: usize, operations: u64) -> Measured {
    let rounds = operations.div_ceil(connections as u64);
    let threads = workers.min(connections);
    let barrier = Arc::new(Barrier::new(threads + 1));
    let handles: Vec<_> = (0..threads)
        .map(|thread| {
            let share = connections / threads + usize::from(thread < connections % threads);
            let barrier = barrier.clone();
            thread::spawn(move || {
                let mut pairs = Pairs::connect(share);
                barrier.wait();
                pairs.exchange(rounds);
            })
        })
        .collect();
    barrier.wait();
    let start = Instant::now();
    for handle in handles {
        handle.join().expect("the thread does not panic");
    }
    share_of(start.elapsed(), operations, rounds * connections as u64)
}

fn share_of(time: Duration, operations: u64, done: u64) -> Measured {
    Measured {
        nanoseconds: time.as_nanos() as f64 * operations as f64 / done as f64,
        each: Vec::new(),
    }
}

/// The connections of one thread, both ends.
struct Pairs {
    epoll: rustix::fd::OwnedFd,
    clients: Vec<TcpStream>,
    servers: Vec<TcpStream>,
}

impl Pairs {
    fn connect(count: usize) -> Self {
        let epoll = epoll::create(CreateFlags::CLOEXEC).expect("an epoll descriptor");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("the listener's address");
        let mut pairs = Self {
            epoll,
            clients: Vec::new(),
            servers: Vec::new(),
        };
        for index in 0..count as u64 {
            let client = TcpStream::connect(address).expect("the listener listens");
            let (server, _) = listener.accept().expect("the client has connected");
            // Even tokens are clients, odd ones servers.
            for (stream, token) in [(&client, 2 * index), (&server, 2 * index + 1)] {
                stream.set_nodelay(true).expect("a TCP socket");
                stream.set_nonblocking(true).expect("a socket");
                let interest = EventFlags::IN | EventFlags::ET;
                epoll::add(&pairs.epoll, stream, EventData::new_u64(token), interest)
                    .expect("a socket");
            }
            pairs.clients.push(client);
            pairs.servers.push(server);
        }
        pairs
    }

    fn exchange(&mut self, rounds: u64) {
        let mut open = self.clients.len();
        let mut left = vec![rounds; open];
        let mut received = vec![0; open];
        for client in &mut self.clients {
            send(client, &[b'x'; MESSAGE]);
        }
        let mut events = Vec::with_capacity(EVENTS);
        while open > 0 {
            events.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut events), None)
                .expect("no signal interrupts");
            for event in &events {
                let token = event.data.u64();
                let index = (token / 2) as usize;
                let mut buffer = [0; MESSAGE];
                if token % 2 == 1 {
                    let length = receive(&mut self.servers[index], &mut buffer);
                    send(&mut self.servers[index], &buffer[..length]);
                    continue;
                }
                received[index] += receive(&mut self.clients[index], &mut buffer);
                if received[index] < MESSAGE {
                    continue;
                }
                received[index] = 0;
                left[index] -= 1;
                match left[index] {
                    0 => open -= 1,
                    _ => send(&mut self.clients[index], &[b'x'; MESSAGE]),
                }
            }
        }
    }
}

/// Reads what is there, which is a message or less: then the socket is drained, and the next bytes make an edge.
fn receive(stream: &mut TcpStream, buffer: &mut [u8; MESSAGE]) -> usize {
    match stream.read(buffer) {
        Ok(0) => panic!("the other end closed"),
        Ok(length) => length,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => panic!("{error}"),
    }
}

/// One message always fits: its predecessor has been answered.
fn send(stream: &mut TcpStream, data: &[u8]) {
    if !data.is_empty() {
        stream.write_all(data).expect("room for a message");
    }
}
