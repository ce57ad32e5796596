//! Data processing in stages: reading, computing on all cores, merging.
//!
//! ```text
//!   read lines ──(bounded queue)──> count words × N ──(bounded channel)──> merge
//!    async            batches          offload                               async
//! ```
//!
//! Queues between the stages are short, so that a fast stage waits for a slow one and memory stays bounded whatever the input's length.

use std::collections::HashMap;
use std::fmt;
use std::io;

use divisi::channel::mpsc;
use divisi::io::{AsyncBufRead, AsyncBufReadExt};
use divisi::{JoinError, queue};
use futures_util::StreamExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Sizes of the parts.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Lines that are computed on together: enough that moving them costs little against computing.
    pub batch: usize,
    /// Batches that may wait between two stages.
    pub queue: usize,
    /// Batches that are computed on at a time.
    pub workers: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            batch: 256,
            queue: 4,
            workers: 4,
        }
    }
}

impl Settings {
    /// The most batches that can be under way: those in the queues, at the workers, in the reader's hand and in the merger's.
    pub fn most_under_way(&self) -> usize {
        2 * self.queue + self.workers + 2
    }
}

/// What came out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// How often each word occurs.
    pub words: HashMap<String, u64>,
    /// How many lines there were.
    pub lines: usize,
    /// The most batches that were under way at a time.
    pub peak: usize,
}

/// Why a pipeline stopped.
#[derive(Debug)]
pub enum PipelineError {
    /// The input could not be read, or is no UTF-8.
    Read(io::Error),
    /// A line that cannot be computed on.
    Line {
        /// Its number, from 1.
        number: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// A stage panicked, or the runtime was shut down.
    Stage(JoinError),
}

impl fmt::Display for PipelineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PipelineError::Read(error) => write!(f, "the input cannot be read: {error}"),
            PipelineError::Line { number, why } => write!(f, "line {number}: {why}"),
            PipelineError::Stage(error) => write!(f, "a stage ended early: {error}"),
        }
    }
}

impl std::error::Error for PipelineError {}

struct Batch {
    first_line: usize,
    lines: Vec<String>,
    _under_way: UnderWay,
}

/// Counts batches that exist.
struct UnderWay(Arc<[AtomicUsize; 2]>);

impl UnderWay {
    fn begin(gauge: &Arc<[AtomicUsize; 2]>) -> UnderWay {
        let [now, peak] = &**gauge;
        peak.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
        UnderWay(gauge.clone())
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0[0].fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts the words of `input`. A word is what white space separates, in lower case; a zero byte is an error.
///
/// # Errors
///
/// The first that a stage meets. The other stages end then, as their queues do.
pub async fn count_words(
    input: impl AsyncBufRead + Unpin + Send + 'static,
    settings: Settings,
) -> Result<Counted, PipelineError> {
    let gauge = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let (batches, computing) = queue::bounded(settings.queue.max(1));
    let (results, mut merging) = mpsc::bounded(settings.queue.max(1));
    let reader = divisi::spawn(read(input, settings.batch.max(1), batches, gauge.clone()));
    let workers: Vec<_> = (0..settings.workers.max(1))
        .map(|_| divisi::spawn(compute(computing.clone(), results.clone())))
        .collect();
    drop((computing, results));

    let mut counted = Counted::default();
    let mut failure = None;
    while let Some(result) = merging.recv().await {
        match result {
            Ok((lines, words, _under_way)) => {
                counted.lines += lines;
                for (word, count) in words {
                    *counted.words.entry(word).or_default() += count;
                }
            }
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    // Workers find nobody to send to, and then the reader finds no worker.
    drop(merging);
    for worker in workers {
        worker.await.map_err(PipelineError::Stage)?;
    }
    let read = reader.await.map_err(PipelineError::Stage)?;
    if let Some(error) = failure {
        return Err(error);
    }
    read.map_err(PipelineError::Read)?;
    counted.peak = gauge[1].load(Ordering::Relaxed);
    Ok(counted)
}

async fn read(
    input: impl AsyncBufRead + Unpin,
    batch: usize,
    batches: queue::Sender<Batch>,
    gauge: Arc<[AtomicUsize; 2]>,
) -> io::Result<()> {
    let mut lines = input.lines();
    let mut first_line = 1;
    loop {
        let mut taken = Vec::new();
        while taken.len() < batch {
            match lines.next().await {
                Some(line) => taken.push(line?),
                None => break,
            }
        }
        let count = taken.len();
        if count == 0 {
            return Ok(());
        }
        let batch = Batch {
            first_line,
            lines: taken,
            _under_way: UnderWay::begin(&gauge),
        };
        first_line += count;
        // Waits while the queue is full: that is the back-pressure.
        if batches.send(batch).await.is_err() {
            return Ok(());
        }
    }
}

type Computed = Result<(usize, HashMap<String, u64>, UnderWay), PipelineError>;

async fn compute(batches: queue::Receiver<Batch>, results: mpsc::Sender<Computed>) {
    while let Some(batch) = batches.recv().await {
        let result = match divisi::offload(move || count(batch)).await {
            Ok(result) => result,
            Err(error) => Err(PipelineError::Stage(error)),
        };
        let failed = result.is_err();
        if results.send(result).await.is_err() || failed {
            return;
        }
    }
}

fn count(batch: Batch) -> Computed {
    let mut words = HashMap::new();
    for (index, line) in batch.lines.iter().enumerate() {
        if line.contains('\0') {
            return Err(PipelineError::Line {
                number: batch.first_line + index,
                why: "a zero byte: is this a text?",
            });
        }
        for word in line.split_whitespace() {
            *words.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    Ok((batch.lines.len(), words, batch._under_way))
}
