//! Channels between tasks. They need no runtime and may be used from any thread.

#[doc(inline)]
pub use divisi_sync::oneshot::channel as oneshot;

/// The ends and the error of [`oneshot`].
pub mod oneshot_types {
    pub use divisi_sync::oneshot::{Closed, Receiver, Sender};
}
