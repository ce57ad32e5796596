//! What a source sees of its peer: data, the end, errors, and nothing lost between edges.

mod support;

use divisi_reactor::{Direction, Progress, ReactorError, Source};
use socket2::SockRef;
use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, UdpSocket};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use support::*;

/// True if a short read ends the readiness, so that the next read is not even tried.
const SHORT_CLEARS: bool = cfg!(all(target_os = "linux", not(feature = "portable")));

#[test]
fn the_first_read_tries_before_it_waits_and_registers_nothing() {
    let mut l = Loop::new();
    let (near, mut far) = tcp_pair();
    far.write_all(b"hi").unwrap();
    // Loopback delivers before `write` returns.
    let near = Source::new(near);
    let data = l.block_on(read(&near, 2, || panic!("the reactor was asked for")));
    assert_eq!(data.unwrap(), b"hi");
    assert_eq!(near.home(), None);
    assert_eq!(l.reactor.metrics().sources, 0);
}

#[test]
fn a_source_that_found_no_reactor_sees_what_arrives_later() {
    let no_home = || Err(std::io::Error::other("no runtime here"));
    let (near, mut far) = tcp_pair();
    let near = Source::new(near);
    let mut buffer = [0; 16];
    let mut read = |near: &Source<std::net::TcpStream>| {
        let mut cx = Context::from_waker(Waker::noop());
        near.poll_io(&mut cx, Direction::Read, no_home, |mut io| {
            let asked = buffer.len();
            io.read(&mut buffer).map(|n| Progress::of(n, asked))
        })
    };
    for round in 0..3 {
        let Poll::Ready(Err(error)) = read(&near) else {
            panic!("round {round}: there is nothing to read and nowhere to wait");
        };
        assert_eq!(error.to_string(), "no runtime here");
        assert!(near.is_ready(Direction::Read), "the next poll tries");
        far.write_all(b"hi").unwrap();
        // A short read clears; what comes next must be found all the same.
        assert!(matches!(read(&near), Poll::Ready(Ok(2))));
        far.write_all(b"again").unwrap();
        assert!(matches!(read(&near), Poll::Ready(Ok(5))));
    }
}

#[test]
fn data_and_end_that_come_together_are_seen_as_data_and_then_as_the_end() {
    for wait_first in [false, true] {
        let mut l = Loop::new();
        let (near, mut far) = tcp_pair();
        let near = Source::new(near);
        if wait_first {
            assert!(poll_once(&mut Box::pin(read(&near, 64, l.home()))).is_pending());
            l.settle();
        }
        far.write_all(b"last words").unwrap();
        drop(far);
        let home = l.home();
        assert_eq!(l.block_on(read(&near, 64, &home)).unwrap(), b"last words");
        assert_eq!(l.block_on(read(&near, 64, &home)).unwrap(), b"");
        assert_eq!(l.block_on(read(&near, 64, &home)).unwrap(), b"", "for ever");
    }
}

#[test]
fn an_end_that_comes_after_a_short_read_is_seen() {
    let mut l = Loop::new();
    let (near, mut far) = tcp_pair();
    let near = Source::new(near);
    let home = l.home();
    far.write_all(b"words").unwrap();
    assert_eq!(l.block_on(read(&near, 64, &home)).unwrap(), b"words");
    assert!(poll_once(&mut Box::pin(read(&near, 64, &home))).is_pending());
    l.settle();
    drop(far);
    assert_eq!(l.block_on(read(&near, 64, &home)).unwrap(), b"");
}

#[test]
fn a_short_read_ends_readiness_and_the_next_edge_brings_it_back() {
    let mut l = Loop::new();
    let (near, mut far) = tcp_pair();
    let near = Source::new(near);
    let home = l.home();
    // Register it, so that readiness is what the reactor says.
    assert!(poll_once(&mut Box::pin(read(&near, 64, &home))).is_pending());
    let calls = Cell::new(0);
    for round in 0..5 {
        far.write_all(b"abc").unwrap();
        l.turn_until(|| near.is_ready(Direction::Read));
        calls.set(0);
        let got = l.block_on(near.async_io(Direction::Read, &home, |mut io| {
            calls.set(calls.get() + 1);
            let mut buffer = [0; 64];
            io.read(&mut buffer).map(|n| Progress::of(n, buffer.len()))
        }));
        assert_eq!(got.unwrap(), 3, "round {round}");
        assert_eq!(calls.get(), 1);
        assert_eq!(near.is_ready(Direction::Read), !SHORT_CLEARS);
    }
}

#[test]
fn a_full_read_leaves_the_source_ready_and_the_rest_is_read_without_an_edge() {
    let mut l = Loop::new();
    let (near, mut far) = unix_pair();
    let near = Source::new(near);
    let home = l.home();
    assert!(poll_once(&mut Box::pin(read(&near, 2, &home))).is_pending());
    far.write_all(b"abcd").unwrap();
    assert_eq!(l.block_on(read(&near, 2, &home)).unwrap(), b"ab");
    let events = l.reactor.metrics().events;
    assert_eq!(l.block_on(read(&near, 2, &home)).unwrap(), b"cd");
    assert_eq!(l.reactor.metrics().events, events);
}

#[test]
fn what_follows_an_urgent_byte_is_not_stranded() {
    let mut l = Loop::new();
    let (near, mut far) = tcp_pair();
    let near = Source::new(near);
    let home = l.home();
    assert!(poll_once(&mut Box::pin(read(&near, 64, &home))).is_pending());
    l.settle();
    far.write_all(b"ab").unwrap();
    SockRef::from(&far).send_out_of_band(b"!").unwrap();
    far.write_all(b"cd").unwrap();
    // A read stops at the urgent mark although data follows it.
    let mut got = Vec::new();
    while got.len() < 4 {
        got.extend(l.block_on(read(&near, 64, &home)).unwrap());
    }
    assert_eq!(got, b"abcd");
}

#[test]
fn a_reset_connection_is_an_error_for_whoever_waits() {
    let mut l = Loop::new();
    let (near, far) = tcp_pair();
    let near = Source::new(near);
    let home = l.home();
    let mut waiting = Box::pin(read(&near, 64, &home));
    assert!(poll_once(&mut waiting).is_pending());
    SockRef::from(&far)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(far);
    let error = l.block_on(waiting).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_half_closed_connection_can_still_be_written() {
    let mut l = Loop::new();
    let (near, far) = tcp_pair();
    let (near, far) = (Source::new(near), Source::new(far));
    let home = l.home();
    near.get_ref().shutdown(Shutdown::Write).unwrap();
    assert_eq!(l.block_on(read(&far, 64, &home)).unwrap(), b"");
    let data = vec![7; 4 << 20];
    let mut got = 0;
    l.block_on(async {
        let write = async {
            write_all(&far, &data, &home).await.unwrap();
            far.get_ref().shutdown(Shutdown::Write).unwrap();
        };
        let read = async {
            loop {
                let part = read(&near, 1 << 16, &home).await.unwrap();
                got += part.len();
                if part.is_empty() {
                    break;
                }
            }
        };
        join(write, read).await;
    });
    assert_eq!(got, data.len());
}

#[test]
fn a_full_buffer_makes_a_writer_wait_until_the_peer_reads() {
    let mut l = Loop::new();
    let (near, mut far) = unix_pair();
    let near = Source::new(near);
    let home = l.home();
    let chunk = [1; 4096];
    let mut sent = 0;
    let blocked = loop {
        let mut write = near.async_io(Direction::Write, &home, |mut io| {
            io.write(&chunk).map(|n| Progress::of(n, chunk.len()))
        });
        match poll_once(&mut write) {
            Poll::Ready(n) => sent += n.unwrap(),
            Poll::Pending => break write,
        }
    };
    let mut got = 0;
    let mut buffer = vec![0; 1 << 16];
    while got < sent {
        got += far.read(&mut buffer).unwrap();
    }
    assert!(l.block_on(blocked).unwrap() > 0);
}

#[test]
fn every_waiter_of_a_direction_is_woken_and_the_late_ones_wait_again() {
    let mut l = Loop::new();
    let (near, mut far) = unix_pair();
    let near = Source::new(near);
    let home = l.home();
    let counts = [Count::new(), Count::new()];
    let mut futures = [
        Box::pin(read(&near, 1, &home)),
        Box::pin(read(&near, 1, &home)),
    ];
    assert!(poll_for(&counts[0], &mut futures[0]).is_pending());
    assert!(poll_for(&counts[1], &mut futures[1]).is_pending());
    far.write_all(b"x").unwrap();
    l.turn_until(|| counts.iter().all(|count| count.wakes() > 0));
    assert!(matches!(poll_for(&counts[1], &mut futures[1]), Poll::Ready(Ok(data)) if data == b"x"));
    assert!(poll_for(&counts[0], &mut futures[0]).is_pending());
    let seen = counts[0].wakes();
    far.write_all(b"y").unwrap();
    l.turn_until(|| counts[0].wakes() > seen);
    assert!(matches!(poll_for(&counts[0], &mut futures[0]), Poll::Ready(Ok(data)) if data == b"y"));
}

#[test]
fn a_waiter_dropped_after_its_wake_up_takes_nothing_from_the_others() {
    let mut l = Loop::new();
    let (near, mut far) = unix_pair();
    let near = Source::new(near);
    let home = l.home();
    let count = Count::new();
    let mut dropped = Box::pin(read(&near, 1, &home));
    assert!(poll_for(&count, &mut dropped).is_pending());
    let mut other = Box::pin(read(&near, 1, &home));
    assert!(poll_once(&mut other).is_pending());
    far.write_all(b"x").unwrap();
    l.turn_until(|| count.wakes() > 0);
    drop(dropped);
    assert_eq!(l.block_on(other).unwrap(), b"x");
}

#[test]
fn the_slot_and_the_futures_of_a_direction_are_woken_together() {
    let mut l = Loop::new();
    let (near, mut far) = unix_pair();
    let near = Source::new(near);
    let home = l.home();
    let (slot, future) = (Count::new(), Count::new());
    let slot_waker = Waker::from(slot.clone());
    let mut cx = Context::from_waker(&slot_waker);
    assert!(near.poll_ready(&mut cx, Direction::Read, &home).is_ready());
    // Nothing is known yet: an attempt finds that there is nothing to read.
    let attempt = near.poll_io(&mut cx, Direction::Read, &home, |mut io| {
        io.read(&mut [0]).map(Progress::full)
    });
    assert!(attempt.is_pending());
    let mut ready = near.ready(Direction::Read, &home);
    assert!(poll_for(&future, &mut ready).is_pending());
    far.write_all(b"x").unwrap();
    l.turn_until(|| slot.wakes() > 0 && future.wakes() > 0);
    assert!(matches!(poll_once(&mut ready), Poll::Ready(Ok(()))));
}

#[test]
fn reading_and_writing_wait_independently() {
    let mut l = Loop::new();
    let (near, far) = tcp_pair();
    let (near, far) = (Source::new(near), Source::new(far));
    let home = l.home();
    let data: Vec<u8> = (0..3 << 20).map(|n: u32| n as u8).collect();
    let flood = |source| {
        let (data, home) = (&data, &home);
        async move {
            let mut got = Vec::new();
            let write = async { write_all(source, data, home).await.unwrap() };
            let read = async {
                while got.len() < data.len() {
                    got.extend(read(source, 1 << 14, home).await.unwrap());
                }
            };
            join(write, read).await;
            assert!(got == *data);
        }
    };
    l.block_on(join(flood(&near), flood(&far)));
}

#[test]
fn two_datagrams_behind_one_edge_are_both_received() {
    let mut l = Loop::new();
    let near = UdpSocket::bind("127.0.0.1:0").unwrap();
    near.set_nonblocking(true).unwrap();
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    far.connect(near.local_addr().unwrap()).unwrap();
    let near = Source::new(near);
    let home = l.home();
    let receive = || {
        near.async_io(Direction::Read, &home, |io| {
            let mut buffer = [0; 64];
            io.recv(&mut buffer).map(Progress::full)
        })
    };
    assert!(poll_once(&mut receive()).is_pending());
    far.send(b"one").unwrap();
    far.send(b"three").unwrap();
    assert_eq!(l.block_on(receive()).unwrap(), 3);
    assert_eq!(l.block_on(receive()).unwrap(), 5);
}

#[test]
fn a_listener_accepts_every_connection_of_a_burst() {
    let mut l = Loop::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = Source::new(listener);
    let home = l.home();
    let accept = || listener.async_io(Direction::Read, &home, |io| io.accept().map(Progress::full));
    assert!(poll_once(&mut accept()).is_pending());
    let clients: Vec<_> = (0..20)
        .map(|_| std::net::TcpStream::connect(address).unwrap())
        .collect();
    for _ in &clients {
        l.block_on(accept()).unwrap();
    }
    assert!(poll_once(&mut accept()).is_pending());
}

#[test]
fn a_refused_connection_wakes_the_one_that_connects() {
    let mut l = Loop::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    let started = socket.connect(&address.into());
    assert!(started.is_err(), "in progress or refused at once");
    let source = Source::new(std::net::TcpStream::from(socket));
    let home = l.home();
    let connected = source.async_io(Direction::Write, &home, |io| {
        if let Some(error) = io.take_error()? {
            return Err(error);
        }
        io.peer_addr().map(Progress::full).map_err(|error| {
            if error.kind() == ErrorKind::NotConnected {
                ErrorKind::WouldBlock.into()
            } else {
                error
            }
        })
    });
    let error = l.block_on(connected).unwrap_err();
    let at_once = started.unwrap_err().kind() == ErrorKind::ConnectionRefused;
    assert!(at_once || error.kind() == ErrorKind::ConnectionRefused);
}

#[test]
fn a_closed_pipe_is_seen_behind_its_last_bytes() {
    let mut l = Loop::new();
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    let mut writer = std::fs::File::from(writer);
    let reader = Source::new(std::fs::File::from(reader));
    let home = l.home();
    assert!(poll_once(&mut Box::pin(read(&reader, 64, &home))).is_pending());
    writer.write_all(b"end").unwrap();
    drop(writer);
    assert_eq!(l.block_on(read(&reader, 64, &home)).unwrap(), b"end");
    assert_eq!(l.block_on(read(&reader, 64, &home)).unwrap(), b"");
}

#[test]
fn try_io_never_waits_and_recovers_without_a_waiter() {
    let mut l = Loop::new();
    let (near, mut far) = unix_pair();
    let near = Source::new(near);
    let attempt = || {
        near.try_io(Direction::Read, |mut io| {
            io.read(&mut [0; 8]).map(|n| Progress::of(n, 8))
        })
    };
    assert_eq!(attempt().unwrap_err().kind(), ErrorKind::WouldBlock);
    far.write_all(b"abc").unwrap();
    assert_eq!(attempt().unwrap(), 3, "nobody watches it: it is tried");

    // Watched from here on.
    assert!(poll_once(&mut near_pending(&near, l.home())).is_pending());
    l.settle();
    assert_eq!(attempt().unwrap_err().kind(), ErrorKind::WouldBlock);
    far.write_all(b"abcd").unwrap();
    l.turn_until(|| near.is_ready(Direction::Read));
    assert_eq!(attempt().unwrap(), 4);
}

fn near_pending<'a>(
    source: &'a Source<std::os::unix::net::UnixStream>,
    home: impl Fn() -> std::io::Result<divisi_reactor::Reactor> + 'a,
) -> impl std::future::Future<Output = std::io::Result<Vec<u8>>> + Unpin + 'a {
    Box::pin(read(source, 8, home))
}

#[test]
fn a_closed_reactor_wakes_every_waiter_with_a_named_error() {
    let mut l = Loop::new();
    let (near, _far) = unix_pair();
    let near = Source::new(near);
    let home = l.home();
    let count = Count::new();
    let mut future = Box::pin(read(&near, 8, &home));
    assert!(poll_for(&count, &mut future).is_pending());
    l.settle();
    let seen = count.wakes();
    l.reactor.close();
    assert!(count.wakes() > seen);
    let Poll::Ready(Err(error)) = poll_for(&count, &mut future) else {
        panic!("still waiting");
    };
    assert_eq!(ReactorError::of(&error), Some(ReactorError::ShutDown));
    assert!(error.to_string().contains("runtime shut down"));
    let error = near
        .try_io(Direction::Write, |_| Ok(Progress::full(())))
        .unwrap_err();
    assert_eq!(ReactorError::of(&error), Some(ReactorError::ShutDown));

    let (fresh, _far) = unix_pair();
    let fresh = Source::new(fresh);
    let error = l.block_on(read(&fresh, 8, &home)).unwrap_err();
    assert_eq!(ReactorError::of(&error), Some(ReactorError::ShutDown));
    l.reactor.close();
}

#[test]
fn an_object_taken_out_of_a_closed_reactor_works_in_another() {
    let mut old = Loop::new();
    let (near, mut far) = unix_pair();
    let near = Source::new(near);
    assert!(poll_once(&mut Box::pin(read(&near, 8, old.home()))).is_pending());
    old.settle();
    old.reactor.close();
    let near = Source::new(near.into_inner());
    let mut new = Loop::new();
    let home = new.home();
    let mut future = Box::pin(read(&near, 8, &home));
    assert!(poll_once(&mut future).is_pending());
    far.write_all(b"again").unwrap();
    assert_eq!(new.block_on(future).unwrap(), b"again");
    assert_eq!(old.reactor.metrics().sources, 0);
}

#[test]
fn a_dropped_source_is_deregistered_although_its_descriptor_lives_on_in_a_duplicate() {
    let mut l = Loop::new();
    let (near, mut far) = unix_pair();
    let twin = near.try_clone().unwrap();
    let near = Source::new(near);
    assert!(poll_once(&mut near_pending(&near, l.home())).is_pending());
    l.settle();
    assert_eq!(l.reactor.metrics().sources, 1);
    drop(near);
    assert_eq!(l.reactor.metrics().sources, 0);
    let events = l.reactor.metrics().events;
    far.write_all(b"x").unwrap();
    l.settle();
    assert_eq!(l.reactor.metrics().events, events);
    drop(twin);
}

#[test]
fn get_mut_forgets_the_old_object_and_watches_the_new_one() {
    let mut l = Loop::new();
    let (first, _first_far) = unix_pair();
    let (second, mut second_far) = unix_pair();
    let mut source = Source::new(first);
    let home = l.home();
    assert!(poll_once(&mut near_pending(&source, &home)).is_pending());
    l.settle();
    let _old = std::mem::replace(source.get_mut(), second);
    assert_eq!(source.home(), None);
    assert_eq!(l.reactor.metrics().sources, 0);
    let mut future = near_pending(&source, &home);
    assert!(poll_once(&mut future).is_pending());
    second_far.write_all(b"new").unwrap();
    assert_eq!(l.block_on(future).unwrap(), b"new");
}

#[cfg(target_os = "linux")]
#[test]
fn an_object_without_readiness_is_refused_with_a_clear_error() {
    // On the poll(2) backend a file is always ready, which is correct as well.
    let l = Loop::new();
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    let source = Source::new(file);
    let future = source.async_io(Direction::Read, l.home(), |_| {
        Err::<Progress<()>, _>(ErrorKind::WouldBlock.into())
    });
    let mut future = future;
    if let Poll::Ready(result) = poll_once(&mut future) {
        let error = result.unwrap_err();
        assert_eq!(ReactorError::of(&error), Some(ReactorError::NotPollable));
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("blocking"));
    } else if SHORT_CLEARS {
        panic!("epoll accepted a regular file");
    }
    drop(future);
}

#[test]
fn two_sources_of_one_descriptor_in_one_reactor_are_refused_with_a_clear_error() {
    let l = Loop::new();
    let (near, _far) = unix_pair();
    let near = std::sync::Arc::new(near);
    let (a, b) = (Source::new(near.clone()), Source::new(near.clone()));
    let wait = |source: &Source<std::sync::Arc<_>>| {
        let mut future = source.async_io(Direction::Read, l.home(), |_| {
            Err::<Progress<()>, _>(ErrorKind::WouldBlock.into())
        });
        poll_once(&mut future)
    };
    assert!(wait(&a).is_pending());
    let Poll::Ready(Err(error)) = wait(&b) else {
        panic!("registered twice");
    };
    assert_eq!(
        ReactorError::of(&error),
        Some(ReactorError::AlreadyRegistered)
    );
}

#[test]
fn a_descriptor_can_be_registered_again_after_its_source_is_gone() {
    let l = Loop::new();
    let (near, _far) = unix_pair();
    // Shared, so that dropping a source does not close it.
    let near = std::sync::Arc::new(near);
    for round in 0..3 {
        let source = Source::new(near.clone());
        let mut future = source.async_io(Direction::Read, l.home(), |_| {
            Err::<Progress<()>, _>(ErrorKind::WouldBlock.into())
        });
        assert!(poll_once(&mut future).is_pending(), "round {round}");
    }
}

#[test]
fn an_interrupted_operation_is_tried_again() {
    let mut l = Loop::new();
    let (near, _far) = unix_pair();
    let near = Source::new(near);
    let mut tries = 0;
    let done = l.block_on(near.async_io(Direction::Write, l.home(), |_| {
        tries += 1;
        if tries < 3 {
            return Err(ErrorKind::Interrupted.into());
        }
        Ok(Progress::full(tries))
    }));
    assert_eq!(done.unwrap(), 3);
}

#[test]
fn an_error_of_the_home_is_the_error_of_the_wait() {
    let (near, _far) = unix_pair();
    let near = Source::new(near);
    let mut wait = Box::pin(read(&near, 8, || Err(ErrorKind::NotFound.into())));
    let Poll::Ready(Err(error)) = poll_once(&mut wait) else {
        panic!("waits without a reactor");
    };
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// Runs both to the end.
async fn join(a: impl std::future::Future<Output = ()>, b: impl std::future::Future<Output = ()>) {
    let (mut a, mut b) = (Box::pin(a), Box::pin(b));
    let (mut a_done, mut b_done) = (false, false);
    std::future::poll_fn(|cx| {
        a_done = a_done || a.as_mut().poll(cx).is_ready();
        b_done = b_done || b.as_mut().poll(cx).is_ready();
        if a_done && b_done {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
