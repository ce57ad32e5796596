//! Which types may move between threads, checked by the compiler.

use divisi_reactor::{
    Clock, IoFuture, OutsideSleep, Reactor, ReactorError, ReadyFuture, Scratch, Source, Timer,
    TimerSlack,
};
use std::net::TcpStream;

/// Is `false` for every type, unless the inherent constant of a `Send` type comes first.
trait MaybeSend {
    const IS_SEND: bool = false;
}

struct Probe<T>(std::marker::PhantomData<T>);

impl<T> MaybeSend for Probe<T> {}

impl<T: Send> Probe<T> {
    const IS_SEND: bool = true;
}

fn send_and_sync<T: Send + Sync>() {}
fn send<T: Send>() {}
fn unpin<T: Unpin>() {}

#[test]
fn handles_and_sources_are_shared_freely() {
    send_and_sync::<Reactor>();
    send_and_sync::<Clock>();
    send_and_sync::<ReactorError>();
    send_and_sync::<Source<TcpStream>>();
    send::<Timer>();
    send::<Scratch>();
    send::<OutsideSleep>();
    send::<IoFuture<'static, TcpStream, fn(), fn()>>();
    send::<ReadyFuture<'static, TcpStream, fn()>>();
}

#[test]
fn futures_and_timers_need_no_pinning() {
    unpin::<Timer>();
    unpin::<IoFuture<'static, TcpStream, fn(), fn()>>();
    unpin::<ReadyFuture<'static, TcpStream, fn()>>();
}

#[test]
fn the_timer_slack_stays_on_its_thread() {
    const { assert!(!Probe::<TimerSlack>::IS_SEND) };
    const { assert!(Probe::<Timer>::IS_SEND) };
}

#[test]
fn a_timer_is_small() {
    // A deadline and a key: it sits in every `sleep` and `timeout` of a user's futures.
    assert!(size_of::<Timer>() <= 40, "{}", size_of::<Timer>());
}
