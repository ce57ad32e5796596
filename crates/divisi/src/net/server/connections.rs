//! The connections of a server.
//!
//! A connection is entered before its task is spawned, and its task's guard takes it out: so the count never misses one. Its handle is added after the spawn, by
//! when the task may have ended; then there is no entry to add it to. Cancelling closes the table first, so a task that was spawned meanwhile is cancelled by
//! whoever adds its handle.

use std::collections::HashMap;
use std::sync::Arc;

use divisi_sync::Event;
use divisi_task::AbortHandle;
use parking_lot::Mutex;

#[derive(Default)]
pub(super) struct Connections {
    table: Mutex<Table>,
    /// Set while there is none.
    empty: Event,
}

#[derive(Default)]
struct Table {
    /// `None` until the task's handle is known.
    open: HashMap<u64, Option<AbortHandle>>,
    last: u64,
    cancelled: Option<&'static str>,
}

impl Connections {
    pub(super) fn new() -> Arc<Connections> {
        let connections = Connections::default();
        connections.empty.set();
        Arc::new(connections)
    }

    pub(super) fn count(&self) -> usize {
        self.table.lock().open.len()
    }

    pub(super) fn enter(self: &Arc<Self>) -> Entry {
        let mut table = self.table.lock();
        table.last += 1;
        let id = table.last;
        table.open.insert(id, None);
        self.empty.clear();
        Entry {
            connections: self.clone(),
            id,
        }
    }

    /// The task of the entry `id`, which may have ended.
    pub(super) fn add_handle(&self, id: u64, task: AbortHandle) {
        let mut table = self.table.lock();
        let cancelled = table.cancelled;
        if let Some(entry) = table.open.get_mut(&id) {
            *entry = Some(task.clone());
            drop(table);
            if let Some(why) = cancelled {
                task.cancel(why);
            }
        }
    }

    /// Cancels all, now and in future. Gives their number.
    pub(super) fn cancel_all(&self, why: &'static str) -> usize {
        let (number, tasks) = {
            let mut table = self.table.lock();
            table.cancelled = Some(why);
            let tasks: Vec<_> = table.open.values().flatten().cloned().collect();
            (table.open.len(), tasks)
        };
        // Outside of the lock: cancelling may drop a task, whose guard takes it.
        for task in tasks {
            task.cancel(why);
        }
        number
    }

    pub(super) async fn wait_empty(&self) {
        self.empty.wait().await;
    }
}

/// A connection's place in the table, given back when it is dropped.
pub(super) struct Entry {
    connections: Arc<Connections>,
    id: u64,
}

impl Entry {
    pub(super) fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut table = self.connections.table.lock();
        let handle = table.open.remove(&self.id);
        if table.open.is_empty() {
            // Under the lock, so that it cannot overtake the `clear` of a connection that comes.
            self.connections.empty.set();
        }
        drop(table);
        drop(handle);
    }
}
