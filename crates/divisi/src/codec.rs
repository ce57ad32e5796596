//! Frames on streams: [`Framed`] turns bytes into messages and back, by a codec (feature `codec`).
//!
//! This is the crate [asynchronous-codec], re-exported. It is written against the traits of futures-io, so it takes every stream of divisi, those of the module
//! `tls`, and a [`StreamReader`](crate::io::StreamReader) with bytes that were read already; and it knows no runtime. Its ready-made codecs are [`BytesCodec`],
//! [`LinesCodec`] and [`LengthCodec`]; a codec of one's own implements [`Encoder`] and [`Decoder`].
//!
//! With the feature `tokio-io`, the codecs of tokio-util work on the same streams.
//!
//! A decoder that waits for the end of a frame keeps what has come, so **bound the frames**: [`LengthCodec`] and [`LinesCodec`] trust their peers, and are for
//! streams within one's own walls. For lines and separated records of strangers there is `StreamReader`, which has a limit.
//!
//! Cancel safety: a `next` that is dropped loses nothing.
//!
//! ```
//! use divisi::codec::{Bytes, Framed, LengthCodec};
//! use divisi::net::UnixStream;
//! use futures_lite::StreamExt;
//! # use futures_sink_ext::send;
//!
//! # mod futures_sink_ext {
//! #     // What `futures::SinkExt::send` does.
//! #     pub async fn send<S: divisi::codec::Sink<I> + Unpin, I>(sink: &mut S, item: I) -> Result<(), S::Error> {
//! #         use std::{future::poll_fn, pin::Pin};
//! #         poll_fn(|cx| Pin::new(&mut *sink).poll_ready(cx)).await?;
//! #         Pin::new(&mut *sink).start_send(item)?;
//! #         poll_fn(|cx| Pin::new(&mut *sink).poll_flush(cx)).await
//! #     }
//! # }
//! # divisi::run(async {
//! let (near, far) = UnixStream::pair()?;
//! let (mut near, mut far) = (Framed::new(near, LengthCodec), Framed::new(far, LengthCodec));
//! // With the crate `futures`: near.send(Bytes::from_static(b"hello")).await?;
//! send(&mut near, Bytes::from_static(b"hello")).await?;
//! assert_eq!(far.next().await.unwrap()?, "hello");
//! # Ok::<(), std::io::Error>(())
//! # }).unwrap();
//! ```
//!
//! [asynchronous-codec]: https://docs.rs/asynchronous-codec

#[doc(no_inline)]
pub use asynchronous_codec::{
    Bytes, BytesCodec, BytesMut, Decoder, Encoder, Framed, FramedParts, FramedRead,
    FramedReadParts, FramedWrite, FramedWriteParts, LengthCodec, LinesCodec,
};
#[doc(no_inline)]
pub use futures_sink::Sink;
