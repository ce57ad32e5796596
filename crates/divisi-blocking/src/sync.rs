//! The atomics of the modules that loom checks: std's, or loom's under one name.

#[cfg(not(divisi_loom))]
pub(crate) use std::sync::atomic;

#[cfg(divisi_loom)]
pub(crate) use loom::sync::atomic;
