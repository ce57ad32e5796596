//! [tower] layers on divisi's clock, limits and tasks. With the feature `tower`.
//!
//! | layer | what it does |
//! |---|---|
//! | [`RateLimitLayer`] | lets so many requests through in a time |
//! | [`ConcurrencyLimitLayer`] | lets so many requests be under way |
//! | [`TimeoutLayer`] | gives each request a limited time |
//! | [`BufferLayer`] | makes a service that cannot be cloned into one that can, with a bounded line of requests in front |
//!
//! **All services that a layer makes, and all their clones, share its limit.** A framework that clones the service, or makes one for each connection, gets one limit
//! all the same. For a limit of each service, make a layer of each.
//!
//! ```
//! use std::time::Duration;
//! use divisi::limit::{Concurrency, Rate, RateLimiter};
//! use divisi::tower::{ConcurrencyLimitLayer, RateLimitLayer, TimeoutLayer};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//!
//! divisi::run(async {
//!     let mut double = ServiceBuilder::new()
//!         .layer(RateLimitLayer::new(RateLimiter::new(Rate::per(100, Duration::from_secs(1)))))
//!         .layer(ConcurrencyLimitLayer::new(Concurrency::new(10)))
//!         .layer(TimeoutLayer::new(Duration::from_secs(5)))
//!         .service(service_fn(|number: u32| async move { Ok::<_, std::io::Error>(number * 2) }));
//!     assert_eq!(double.ready().await.unwrap().call(21).await.unwrap(), 42);
//! });
//! ```
//!
//! [tower]: https://docs.rs/tower

mod buffer;
mod concurrency_limit;
mod rate_limit;
mod timeout;

pub use self::buffer::{Buffer, BufferLayer, BufferedResponse, ServiceGone};
pub use self::concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitLayer, LimitedResponse};
pub use self::rate_limit::{RateLimit, RateLimitLayer};
pub use self::timeout::{Timeout, TimeoutLayer, TimeoutResponse};

/// Any error: what tower's own layers return where they add errors to those of the service.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
