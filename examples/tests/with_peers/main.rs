//! The examples against real peers: programs that somebody else wrote.
//!
//! A test whose program is missing says so on standard error and passes; with `DIVISI_REQUIRE_PEERS=1` it fails. `.ci/run peers` installs them all.

mod cache;
mod calls;
mod foreign;
mod grpc;
mod http;
mod mixing;
mod peers;
mod pipeline;
mod pool;
mod prefork;
mod tls;
mod web;
mod websocket;

use std::net::{Ipv4Addr, SocketAddr};

/// A port that the system chooses.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
