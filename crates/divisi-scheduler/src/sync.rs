//! The atomics of the parking protocol under one name: std's, or loom's when the models are built (`--cfg divisi_loom`).

#[cfg(not(divisi_loom))]
pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(divisi_loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
