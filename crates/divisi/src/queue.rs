//! Queues of work: from many senders to many receivers, in an order of choice, with a way to wait until all work is done.
//!
//! They need no runtime and may be used from any thread.
//!
//! ```
//! divisi::run(async {
//!     let (sender, receiver) = divisi::queue::bounded(8);
//!     for _ in 0..2 {
//!         let receiver = receiver.clone();
//!         drop(divisi::spawn(async move {
//!             while let Some(job) = receiver.recv_tracked().await {
//!                 println!("{}", *job);
//!             } // Dropping the guard means that the job is done.
//!         }));
//!     }
//!     for job in ["wash", "dry", "fold"] {
//!         sender.send(job).await.unwrap();
//!     }
//!     sender.join().await;
//! });
//! ```

#[doc(inline)]
pub use divisi_sync::queue::{
    Join, Receiver, Recv, SendError, SendPermit, Sender, Tracked, TryRecvError, TrySendError,
    Values, bounded, lifo, priority, unbounded,
};
