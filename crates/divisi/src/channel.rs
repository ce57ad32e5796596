//! Channels between tasks. They need no runtime and may be used from any thread.
//!
//! | you send | use |
//! |---|---|
//! | one value, once | [`oneshot()`] |
//! | values from many to one | [`mpsc`] |
//! | the latest of a value to all | [`watch`] |
//! | every value to all | [`broadcast`] |
//! | work from many to many | [`queue`](crate::queue) |
//!
//! ```
//! divisi::run(async {
//!     let (sender, mut receiver) = divisi::channel::mpsc::bounded(8);
//!     for number in 1..=3 {
//!         let sender = sender.clone();
//!         drop(divisi::spawn(async move { sender.send(number).await.unwrap() }));
//!     }
//!     drop(sender);
//!     let mut sum = 0;
//!     while let Some(number) = receiver.recv().await {
//!         sum += number;
//!     }
//!     assert_eq!(sum, 6);
//! });
//! ```

#[doc(inline)]
pub use divisi_sync::oneshot::channel as oneshot;
#[doc(inline)]
pub use divisi_sync::{broadcast, mpsc, oneshot, watch};

/// The ends and the error of [`oneshot()`].
pub mod oneshot_types {
    pub use divisi_sync::oneshot::{Closed, Receiver, Sender};
}
