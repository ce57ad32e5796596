//! Locks, channels and limits: each runtime with what its documentation recommends.
//!
//! tokio has its own, and smol is used with async-lock, async-channel and async-broadcast. Where one has nothing of the kind it gets the best that there
//! is: smol tokio's `watch`, which needs no runtime, and both governor's limiter.
//!
//! governor's limiter has the clock that it has by default: `quanta`'s, which reads the processor's time stamp counter and scales it by a factor measured
//! once. divisi's has the clock of its runtime, which is the system's: limits and timers must agree for as long as a process lives, and tests move both.
//! Most of the difference between them is the price of that.

use std::{future::Future, num::NonZeroU32, time::Duration};

use divisi::{
    channel::{broadcast, mpsc, watch},
    limit::{Rate, RateLimiter},
    sync::{Mutex, Semaphore},
};

use governor::{DefaultDirectRateLimiter, Quota};

use super::{Divisi, Smol, Tokio};
use crate::peer::Primitives;

/// Passes a second of the limiters: more than anybody can make, so that all pass.
const RATE: u32 = 1_000_000_000;

fn governor() -> DefaultDirectRateLimiter {
    let rate = NonZeroU32::new(RATE).expect("more than none");
    DefaultDirectRateLimiter::direct(Quota::per_second(rate))
}

impl Primitives for Divisi {
    type Mutex = Mutex<u64>;
    type Semaphore = Semaphore;
    type Sender = mpsc::Sender<u64>;
    type Receiver = mpsc::Receiver<u64>;
    type WatchSender = watch::Sender<u64>;
    type WatchReceiver = watch::Receiver<u64>;
    type BroadcastSender = broadcast::Sender<u64>;
    type BroadcastReceiver = broadcast::Receiver<u64>;
    type Limiter = RateLimiter;

    fn mutex() -> Self::Mutex {
        Mutex::new(0)
    }

    async fn count(mutex: &Self::Mutex) {
        *mutex.lock().await += 1;
    }

    fn semaphore(permits: usize) -> Self::Semaphore {
        Semaphore::new(permits)
    }

    async fn with_permit<F: Future<Output = ()> + Send>(semaphore: &Self::Semaphore, work: F) {
        let _permit = semaphore.acquire().await.expect("it is never closed");
        work.await;
    }

    fn mpsc(capacity: usize) -> (Self::Sender, Self::Receiver) {
        mpsc::bounded(capacity)
    }

    async fn send_to(sender: &Self::Sender, value: u64) {
        sender.send(value).await.expect("the receiver is there");
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv().await
    }

    fn watch() -> (Self::WatchSender, Self::WatchReceiver) {
        watch::channel(0)
    }

    fn set(sender: &Self::WatchSender, value: u64) {
        sender.send(value).expect("the receivers are there");
    }

    async fn changed(receiver: &mut Self::WatchReceiver) -> u64 {
        receiver.changed().await.expect("the sender is there");
        *receiver.get_and_update()
    }

    fn broadcast(
        capacity: usize,
        receivers: usize,
    ) -> (Self::BroadcastSender, Vec<Self::BroadcastReceiver>) {
        let (sender, first) = broadcast::channel(capacity);
        let mut all = vec![first];
        all.resize_with(receivers, || sender.subscribe());
        (sender, all)
    }

    fn tell(sender: &Self::BroadcastSender, value: u64) {
        sender.send(value).expect("the receivers are there");
    }

    async fn hear(receiver: &mut Self::BroadcastReceiver) -> u64 {
        receiver.recv().await.expect("it is big enough")
    }

    fn limiter() -> Self::Limiter {
        RateLimiter::new(Rate::per(RATE.into(), Duration::from_secs(1)))
    }

    fn pass(limiter: &Self::Limiter) -> bool {
        limiter.try_acquire().is_ok()
    }
}

impl Primitives for Tokio {
    type Mutex = tokio::sync::Mutex<u64>;
    type Semaphore = tokio::sync::Semaphore;
    type Sender = tokio::sync::mpsc::Sender<u64>;
    type Receiver = tokio::sync::mpsc::Receiver<u64>;
    type WatchSender = tokio::sync::watch::Sender<u64>;
    type WatchReceiver = tokio::sync::watch::Receiver<u64>;
    type BroadcastSender = tokio::sync::broadcast::Sender<u64>;
    type BroadcastReceiver = tokio::sync::broadcast::Receiver<u64>;
    type Limiter = DefaultDirectRateLimiter;

    fn mutex() -> Self::Mutex {
        tokio::sync::Mutex::new(0)
    }

    async fn count(mutex: &Self::Mutex) {
        *mutex.lock().await += 1;
    }

    fn semaphore(permits: usize) -> Self::Semaphore {
        tokio::sync::Semaphore::new(permits)
    }

    async fn with_permit<F: Future<Output = ()> + Send>(semaphore: &Self::Semaphore, work: F) {
        let _permit = semaphore.acquire().await.expect("it is never closed");
        work.await;
    }

    fn mpsc(capacity: usize) -> (Self::Sender, Self::Receiver) {
        tokio::sync::mpsc::channel(capacity)
    }

    async fn send_to(sender: &Self::Sender, value: u64) {
        sender.send(value).await.expect("the receiver is there");
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv().await
    }

    fn watch() -> (Self::WatchSender, Self::WatchReceiver) {
        tokio::sync::watch::channel(0)
    }

    fn set(sender: &Self::WatchSender, value: u64) {
        sender.send(value).expect("the receivers are there");
    }

    async fn changed(receiver: &mut Self::WatchReceiver) -> u64 {
        receiver.changed().await.expect("the sender is there");
        *receiver.borrow_and_update()
    }

    fn broadcast(
        capacity: usize,
        receivers: usize,
    ) -> (Self::BroadcastSender, Vec<Self::BroadcastReceiver>) {
        let (sender, first) = tokio::sync::broadcast::channel(capacity);
        let mut all = vec![first];
        all.resize_with(receivers, || sender.subscribe());
        (sender, all)
    }

    fn tell(sender: &Self::BroadcastSender, value: u64) {
        sender.send(value).expect("the receivers are there");
    }

    async fn hear(receiver: &mut Self::BroadcastReceiver) -> u64 {
        receiver.recv().await.expect("it is big enough")
    }

    fn limiter() -> Self::Limiter {
        governor()
    }

    fn pass(limiter: &Self::Limiter) -> bool {
        limiter.check().is_ok()
    }
}

impl Primitives for Smol {
    type Mutex = smol::lock::Mutex<u64>;
    type Semaphore = smol::lock::Semaphore;
    type Sender = smol::channel::Sender<u64>;
    type Receiver = smol::channel::Receiver<u64>;
    type WatchSender = tokio::sync::watch::Sender<u64>;
    type WatchReceiver = tokio::sync::watch::Receiver<u64>;
    type BroadcastSender = async_broadcast::Sender<u64>;
    type BroadcastReceiver = async_broadcast::Receiver<u64>;
    type Limiter = DefaultDirectRateLimiter;

    fn mutex() -> Self::Mutex {
        smol::lock::Mutex::new(0)
    }

    async fn count(mutex: &Self::Mutex) {
        *mutex.lock().await += 1;
    }

    fn semaphore(permits: usize) -> Self::Semaphore {
        smol::lock::Semaphore::new(permits)
    }

    async fn with_permit<F: Future<Output = ()> + Send>(semaphore: &Self::Semaphore, work: F) {
        let _permit = semaphore.acquire().await;
        work.await;
    }

    fn mpsc(capacity: usize) -> (Self::Sender, Self::Receiver) {
        smol::channel::bounded(capacity)
    }

    async fn send_to(sender: &Self::Sender, value: u64) {
        sender.send(value).await.expect("the receiver is there");
    }

    async fn receive(receiver: &mut Self::Receiver) -> Option<u64> {
        receiver.recv().await.ok()
    }

    fn watch() -> (Self::WatchSender, Self::WatchReceiver) {
        tokio::sync::watch::channel(0)
    }

    fn set(sender: &Self::WatchSender, value: u64) {
        sender.send(value).expect("the receivers are there");
    }

    async fn changed(receiver: &mut Self::WatchReceiver) -> u64 {
        receiver.changed().await.expect("the sender is there");
        *receiver.borrow_and_update()
    }

    fn broadcast(
        capacity: usize,
        receivers: usize,
    ) -> (Self::BroadcastSender, Vec<Self::BroadcastReceiver>) {
        let (sender, first) = async_broadcast::broadcast(capacity);
        let mut all = vec![first];
        all.resize_with(receivers, || sender.new_receiver());
        (sender, all)
    }

    fn tell(sender: &Self::BroadcastSender, value: u64) {
        sender
            .try_broadcast(value)
            .expect("the receivers are there, and there is room");
    }

    async fn hear(receiver: &mut Self::BroadcastReceiver) -> u64 {
        receiver.recv_direct().await.expect("it is big enough")
    }

    fn limiter() -> Self::Limiter {
        governor()
    }

    fn pass(limiter: &Self::Limiter) -> bool {
        limiter.check().is_ok()
    }
}
