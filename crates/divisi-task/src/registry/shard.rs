//! One shard of the registry: slots in chunks that never move, two lists of the free ones, and two counts, of tasks
//! that came and that left.
//!
//! # Participants
//!
//! - a *spawner* reserves a slot and publishes a task in it (or gives it back), while it borrows the registry;
//! - a *remover* completes a task and takes it out, on any thread, even after the registry is gone;
//! - a *lister* looks for tasks, while it borrows the registry;
//! - a *closer* stops spawners.
//!
//! # A slot
//!
//! ```text
//!           reserve                publish 1                publish 2
//!  free ------------> reserved ----------------> pinned ----------------> task
//!   ^                    | give back               | closed:    pin |  ^ unpin
//!   |<-------------------+-------------------------+                v  |
//!   |                                                             pinned
//!   +----------------------- remove (waits while pinned) ----------- task
//! ```
//!
//! `word` is null (free, reserved), the task's address, or the address with [`PINNED`] in its lowest bit.
//! Only the spawner that reserved the slot changes it from null; only the one who set the pin clears it; only
//! the remover changes the bare address to null. So
//!
//! - a lister that has pinned a slot can take a reference to the task: the registry's own is still there, for
//!   the remover of this task cannot get past the pin. Lister and remover wait for one another for a few
//!   instructions only, spinning;
//! - a task that a spawner has to take back because the shard is closed was seen by nobody, since it was
//!   pinned from the start.
//!
//! # Two sides
//!
//! Spawners write one pair of cache lines and removers another: a thief that ends tasks as fast as a worker spawns
//! them does not slow it down. The sides meet when the spawners' list is empty.
//!
//! # Closing
//!
//! `entered` counts tasks (and spawners that are about to know whether they may), with [`CLOSED`] in its lowest bit.
//! A spawner stores the pinned task, then adds to `entered`; a closer sets `CLOSED` there. Both are
//! read-modify-writes of one word, so one comes first: either the spawner finds `CLOSED` and takes its task back,
//! or the closer's acquires the spawner's release and a listing that begins afterwards finds the slot at least
//! pinned (and waits for the pin).
//!
//! # Population
//!
//! It is `entered` less `left`, each summed over all shards. Whoever reads all `left` first and then all `entered`
//! never finds less than there were in between: both only grow, but for spawners that find the shard closed, who
//! were counted too much for a moment. A removal happens after its task was entered, so that acquiring the one shows
//! the other. If the two are equal, they are so in each shard, and none had a task at the moment between the last
//! reading of `left` and the first of `entered`.
//!
//! # Lifetime
//!
//! As long as the registry is there, `left` counts removals. When it goes (no spawner can be under way, so
//! `entered` is final) it subtracts that number and sets [`RELEASED`]; from then on `left` is the negative number of
//! those who are still to be removed. Whoever makes it zero, the registry or a remover, frees the shard. Its
//! addition to `left` is a remover's very last access.
//!
//! # The lists of free slots
//!
//! Both are stacks of slot numbers. Removers (and spawners that give a slot back) push to `returned`, one by one, and
//! it is only ever taken whole, so neither needs to know whether the head it replaces was there all the time. Spawners pop from `free`. Its head
//! carries a tag that every pop increments, so a pop that was suspended between reading a slot's successor and its
//! exchange fails if that slot was popped meanwhile, unless exactly a multiple of 2^35 pops were made within the
//! suspension (half an hour at fifty nanoseconds each).
//!
//! A spawner that finds `free` empty takes all of `returned`, keeps one slot and makes the others the new `free`. If
//! another one was faster, it takes that list whole as well (which is a pop) and joins the two. One that finds
//! both empty because a third is in between grows the shard: slots are only ever too many.
//!
//! A slot that is out of generations is not pushed back, so that an id is never used twice.
//!
//! Models: `registry_*` in `tests/loom_registry.rs`.

use std::ptr::{self, NonNull};

use super::take_reference;
use crate::error::Closed;
use crate::header::Header;
use crate::id::{GENERATION_BITS, SLOT_BITS, TaskId};
use crate::raw::{self, Reference};
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, Spin};

/// Slots in the first chunk; each further one has twice as many. 64 slots are one KiB.
#[cfg(not(divisi_loom))]
const FIRST_CHUNK: u32 = 64;
/// Few, so that a model is small.
#[cfg(divisi_loom)]
const FIRST_CHUNK: u32 = 2;

/// As many as hold every slot number.
const CHUNKS: usize = (SLOT_BITS - FIRST_CHUNK.ilog2()) as usize;
/// How many slots that makes: one chunk's worth less than 2^28.
const CAPACITY: u32 = (1 << SLOT_BITS) - FIRST_CHUNK;
const LAST_GENERATION: u32 = (1 << GENERATION_BITS) - 1;

/// In a slot's word: somebody is looking at the task.
const PINNED: usize = 1;

/// In `entered`: no new tasks.
const CLOSED: u64 = 1 << 0;
/// In `left`: the registry is gone.
const RELEASED: u64 = 1 << 0;
/// In both.
const TASK: u64 = 1 << 1;

/// In the head of `free`: the low half is a slot number plus 1, or 0 at the end of the list; the rest is the tag. In
/// that of `returned` there is no tag.
const NUMBER_BITS: u32 = SLOT_BITS + 1;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;
const TAG_ONE: u64 = 1 << NUMBER_BITS;

/// See the module documentation.
pub(crate) struct Shard {
    spawners: Spawners,
    removers: Removers,
    number: u32,
    /// Slots below this number were in use at some time.
    fresh: AtomicU32,
    /// The slots, in chunks of [`chunk_len`] that are made when they are needed and stay as long as the
    /// shard. Null, or a leaked boxed slice.
    chunks: [AtomicPtr<Slot>; CHUNKS],
    /// Shows loom every use of the shard and its end, so that it finds those that are not ordered.
    #[cfg(divisi_loom)]
    alive: crate::sync::UnsafeCell<()>,
    #[cfg(divisi_loom)]
    _leak_check: loom::alloc::Track<()>,
}

/// What spawners write. Aligned so that nothing else shares its cache line, nor the one that is prefetched with it.
#[repr(align(128))]
struct Spawners {
    entered: AtomicU64,
    free: AtomicU64,
}

/// What removers write.
#[repr(align(128))]
struct Removers {
    left: AtomicU64,
    returned: AtomicU32,
}

struct Slot {
    word: AtomicPtr<Header>,
    /// The next in the list of free slots, as in its head. Written by who is about to push the slot.
    next: AtomicU32,
    /// The generation of the task that is, or will next be, here. Changed only between removal and push; the
    /// push releases it.
    generation: AtomicU32,
}

impl Slot {
    fn new() -> Self {
        Self {
            word: AtomicPtr::new(ptr::null_mut()),
            next: AtomicU32::new(0),
            generation: AtomicU32::new(1),
        }
    }

    /// Takes a reference to the task that is here, if `wanted`.
    fn pin(&self, wanted: impl Fn(&Header) -> bool) -> Option<Reference> {
        let mut spin = Spin::default();
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if word.is_null() {
                return None;
            }
            if word.addr() & PINNED != 0 {
                spin.turn();
                word = self.word.load(Ordering::Relaxed);
                continue;
            }
            // Acquire: the task as its spawner published it.
            let pinned = word.map_addr(|address| address | PINNED);
            match self.word.compare_exchange_weak(
                word,
                pinned,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(actual) => {
                    // The same address, but perhaps of a later allocation.
                    word = actual;
                    break;
                }
                Err(actual) => word = actual,
            }
        }
        let task = NonNull::new(word).expect("checked above");
        // SAFETY: pinned, so the registry's reference is still there.
        let found = unsafe { wanted(raw::header(&task)) }.then(|| take_reference(task));
        // Release: the remover, who acquires this, gives the registry's reference back only after ours was
        // made.
        self.word.store(word, Ordering::Release);
        found
    }
}

impl Shard {
    pub(crate) fn allocate(number: u32) -> NonNull<Self> {
        let shard = Box::new(Self {
            spawners: Spawners {
                entered: AtomicU64::new(0),
                free: AtomicU64::new(0),
            },
            removers: Removers {
                left: AtomicU64::new(0),
                returned: AtomicU32::new(0),
            },
            number,
            fresh: AtomicU32::new(0),
            chunks: std::array::from_fn(|_| AtomicPtr::new(ptr::null_mut())),
            #[cfg(divisi_loom)]
            alive: crate::sync::UnsafeCell::new(()),
            #[cfg(divisi_loom)]
            _leak_check: loom::alloc::Track::new(()),
        });
        // SAFETY: a box is never null.
        unsafe { NonNull::new_unchecked(Box::into_raw(shard)) }
    }

    pub(crate) fn close(&self) {
        // Acquire: what spawners that came first have put into their slots, for the listing that follows.
        self.spawners.entered.fetch_or(CLOSED, Ordering::Acquire);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.spawners.entered.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// Tasks that have left, to be read before [`entered`](Self::entered).
    pub(crate) fn left(&self) -> u64 {
        // Acquire: whoever finds all gone sees all that the tasks did, and that they were entered.
        self.removers.left.load(Ordering::Acquire) / TASK
    }

    pub(crate) fn entered(&self) -> u64 {
        self.spawners.entered.load(Ordering::Relaxed) / TASK
    }

    /// Takes a free slot and makes the id of its next task.
    #[inline]
    pub(crate) fn reserve(&self) -> Result<TaskId, Closed> {
        // A hint that spares the work; `publish` decides.
        if self.is_closed() {
            return Err(Closed);
        }
        let found = self.pop().or_else(|| self.refill());
        let (slot, index) = found.unwrap_or_else(|| self.grow());
        let generation = slot.generation.load(Ordering::Relaxed);
        Ok(TaskId::new(self.number, index, generation))
    }

    /// Frees a slot that was reserved and is not needed.
    pub(crate) fn give_back(&self, id: TaskId) {
        self.recycle(self.slot(id.slot()), id);
    }

    /// Enters a task into its slot; false if the shard is closed, and then the slot is free again.
    ///
    /// # Safety
    /// The id was reserved and not published; the task lives, and one reference to it is the registry's if
    /// the result is true.
    pub(crate) unsafe fn publish(&self, id: TaskId, task: NonNull<Header>) -> bool {
        let slot = self.slot(id.slot());
        let pinned = task.as_ptr().map_addr(|address| address | PINNED);
        // Relaxed: the read-modify-write that follows releases it to the closer; to others it is a pin
        // without meaning.
        slot.word.store(pinned, Ordering::Relaxed);
        let before = self.spawners.entered.fetch_add(TASK, Ordering::Release);
        if before & CLOSED == 0 {
            // Release: the task is complete for whoever acquires its address.
            slot.word.store(task.as_ptr(), Ordering::Release);
            return true;
        }
        // Relaxed, both: nobody has looked at the task, and the registry, which the spawner borrows, is not gone.
        slot.word.store(ptr::null_mut(), Ordering::Relaxed);
        self.recycle(slot, id);
        self.spawners.entered.fetch_sub(TASK, Ordering::Relaxed);
        false
    }

    /// Takes a task out. The registry's reference to it is the caller's from now on.
    ///
    /// # Safety
    /// `this` points to a shard, with provenance over the whole; the task was published there under this id
    /// and not yet removed. The caller does not touch the shard afterwards.
    pub(crate) unsafe fn remove(this: NonNull<Self>, id: TaskId, task: NonNull<Header>) {
        // SAFETY: the task, which was counted, keeps the shard alive. The reference is not used after that; as an argument it would have to stay
        // valid until the end.
        let shard = unsafe { this.as_ref() };
        let slot = shard.slot(id.slot());
        let mut spin = Spin::default();
        // Acquire: pairs with the unpinning release, so that a lister's reference was made before ours is
        // given back.
        while slot
            .word
            .compare_exchange_weak(
                task.as_ptr(),
                ptr::null_mut(),
                Ordering::Acquire,
                Ordering::Relaxed,
            )
            .is_err()
        {
            spin.turn();
        }
        shard.recycle(slot, id);
        // SAFETY: the task kept the shard alive until here.
        unsafe { Self::leave(this, TASK) };
    }

    /// The registry goes away.
    ///
    /// # Safety
    /// `this` points to a shard, with provenance over the whole, and nobody uses it through the registry
    /// any more.
    pub(crate) unsafe fn release(this: NonNull<Self>) {
        // SAFETY: without `RELEASED` nobody has freed the shard. Spawners have borrowed the registry, and are done with it.
        let entered = unsafe { this.as_ref() }.entered() * TASK;
        // SAFETY: as above.
        unsafe { Self::leave(this, RELEASED.wrapping_sub(entered)) };
    }

    /// Adds to `left`, and frees the shard if the registry is gone and every task that entered has left.
    ///
    /// # Safety
    /// `this` has provenance over the whole shard; the caller was a user of it and is not from now on.
    unsafe fn leave(this: NonNull<Self>, users: u64) {
        // SAFETY: the user keeps it alive until the addition. AcqRel: the last one acquires what all others did.
        let before = unsafe { this.as_ref() }
            .removers
            .left
            .fetch_add(users, Ordering::AcqRel);
        if before.wrapping_add(users) == RELEASED {
            // SAFETY: made by `allocate` from a box, and no user is left.
            drop(unsafe { Box::from_raw(this.as_ptr()) });
        }
    }

    pub(crate) fn for_each(&self, mut f: impl FnMut(Reference)) {
        // Acquire is not needed: see "Closing"; whatever else is not seen here came too late to be listed.
        let fresh = self.fresh.load(Ordering::Relaxed).min(CAPACITY);
        for index in 0..fresh {
            let found = self.try_slot(index).and_then(|slot| slot.pin(|_| true));
            if let Some(task) = found {
                f(task);
            }
        }
    }

    pub(crate) fn get(&self, id: TaskId) -> Option<Reference> {
        if id.slot() >= CAPACITY {
            return None;
        }
        self.try_slot(id.slot())?.pin(|task| task.id == id)
    }

    /// Prepares a slot that holds nothing for its next task.
    fn recycle(&self, slot: &Slot, id: TaskId) {
        if id.generation() == LAST_GENERATION {
            return;
        }
        // Relaxed: the push releases it.
        slot.generation
            .store(id.generation() + 1, Ordering::Relaxed);
        self.push(slot, id.slot());
    }

    fn push(&self, slot: &Slot, index: u32) {
        let returned = &self.removers.returned;
        let mut head = returned.load(Ordering::Relaxed);
        loop {
            slot.next.store(head, Ordering::Relaxed);
            // Release: generation and successor, for who takes the list.
            match returned.compare_exchange_weak(
                head,
                index + 1,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(actual) => head = actual,
            }
        }
    }

    fn pop(&self) -> Option<(&Slot, u32)> {
        let free = &self.spawners.free;
        // Acquire, on either way to a head: what `install` released with that list (pops in between continue its
        // release sequence). The exchange adds nothing to that: thanks to the tag, an equal head is the very
        // one that was read.
        let mut head = free.load(Ordering::Acquire);
        loop {
            let index = number(head).checked_sub(1)?;
            let slot = self.slot(index);
            let next = slot.next.load(Ordering::Relaxed);
            match free.compare_exchange_weak(
                head,
                popped(head, next),
                Ordering::Relaxed,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some((slot, index)),
                Err(actual) => head = actual,
            }
        }
    }

    /// Takes what removers have returned: one slot for the caller, the others for `free`.
    fn refill(&self) -> Option<(&Slot, u32)> {
        // Mostly there is something; if not, the line stays where it is.
        if self.removers.returned.load(Ordering::Relaxed) == 0 {
            return None;
        }
        // Acquire: what every push since the last time released.
        let index = self
            .removers
            .returned
            .swap(0, Ordering::Acquire)
            .checked_sub(1)?;
        let slot = self.slot(index);
        let rest = slot.next.load(Ordering::Relaxed);
        if rest != 0 {
            self.install(rest);
        }
        Some((slot, index))
    }

    /// Makes a list that is the caller's the one that spawners pop from, with what is there.
    fn install(&self, mut list: u32) {
        let free = &self.spawners.free;
        let mut head = free.load(Ordering::Relaxed);
        loop {
            let there = number(head);
            let new = match there {
                0 => (head & !NUMBER_MASK) | u64::from(list),
                _ => popped(head, 0),
            };
            // Release: generations and successors in the list, for those who pop. Acquire: the same of the list that is taken.
            match free.compare_exchange_weak(head, new, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) if there == 0 => return,
                Ok(_) => {
                    list = self.joined(there, list);
                    head = new;
                }
                Err(actual) => head = actual,
            }
        }
    }

    /// Both lists, which are the caller's, as one. Takes as long as the shorter one is.
    fn joined(&self, first: u32, second: u32) -> u32 {
        let next = |number: u32| &self.slot(number - 1).next;
        let mut ends = (first, second);
        loop {
            let after = (
                next(ends.0).load(Ordering::Relaxed),
                next(ends.1).load(Ordering::Relaxed),
            );
            if after.0 == 0 {
                next(ends.0).store(second, Ordering::Relaxed);
                return first;
            }
            if after.1 == 0 {
                next(ends.1).store(first, Ordering::Relaxed);
                return second;
            }
            ends = after;
        }
    }

    /// A slot that was never used.
    #[cold]
    fn grow(&self) -> (&Slot, u32) {
        let index = self.fresh.fetch_add(1, Ordering::Relaxed);
        if index >= CAPACITY {
            self.fresh.fetch_sub(1, Ordering::Relaxed);
            panic!(
                "{CAPACITY} tasks are alive in one shard of the registry, and it can hold no more"
            );
        }
        let (chunk, offset) = locate(index);
        // SAFETY: `offset` is within a chunk of this number.
        let slot = unsafe { &*self.chunk_or_new(chunk).as_ptr().add(offset) };
        (slot, index)
    }

    /// A slot that somebody has used.
    fn slot(&self, index: u32) -> &Slot {
        self.try_slot(index).expect("a slot in use has its chunk")
    }

    fn try_slot(&self, index: u32) -> Option<&Slot> {
        #[cfg(divisi_loom)]
        self.alive.with(|_| ());
        let (chunk, offset) = locate(index);
        let slots = NonNull::new(self.chunks[chunk].load(Ordering::Acquire))?;
        // SAFETY: `offset` is within a chunk of this number, and chunks stay as long as the shard.
        Some(unsafe { &*slots.as_ptr().add(offset) })
    }

    fn chunk_or_new(&self, chunk: usize) -> NonNull<Slot> {
        let existing = self.chunks[chunk].load(Ordering::Acquire);
        if let Some(existing) = NonNull::new(existing) {
            return existing;
        }
        let slots: Box<[Slot]> = (0..chunk_len(chunk)).map(|_| Slot::new()).collect();
        let offered = Box::into_raw(slots).cast::<Slot>();
        // Release: the slots as they were made.
        let stored = self.chunks[chunk].compare_exchange(
            ptr::null_mut(),
            offered,
            Ordering::Release,
            Ordering::Acquire,
        );
        let winner = match stored {
            Ok(_) => offered,
            Err(winner) => {
                // SAFETY: made above and not published.
                unsafe { free_chunk(chunk, offered) };
                winner
            }
        };
        NonNull::new(winner).expect("a chunk that exists")
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        #[cfg(divisi_loom)]
        self.alive.with_mut(|_| ());
        for (chunk, slots) in self.chunks.iter().enumerate() {
            // Acquire for loom's sake: whoever drops the shard has acquired all that was done to it.
            let slots = slots.load(Ordering::Acquire);
            if !slots.is_null() {
                // SAFETY: the chunk is the shard's, which nobody uses any more.
                unsafe { free_chunk(chunk, slots) };
            }
        }
    }
}

/// # Safety
/// A chunk of this number made by `chunk_or_new` that nobody uses any more.
unsafe fn free_chunk(chunk: usize, slots: *mut Slot) {
    // SAFETY: that is how it was made.
    drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(slots, chunk_len(chunk))) });
}

/// The slot number, plus 1, in a head of `free`.
fn number(head: u64) -> u32 {
    (head & NUMBER_MASK) as u32
}

/// The head of `free` after a pop that leaves `next`.
fn popped(head: u64, next: u32) -> u64 {
    (head & !NUMBER_MASK).wrapping_add(TAG_ONE) | u64::from(next)
}

fn chunk_len(chunk: usize) -> usize {
    (FIRST_CHUNK as usize) << chunk
}

/// In which chunk a slot is, and where in it.
fn locate(index: u32) -> (usize, usize) {
    let shifted = index + FIRST_CHUNK;
    let chunk = shifted.ilog2() - FIRST_CHUNK.ilog2();
    (chunk as usize, (shifted - (FIRST_CHUNK << chunk)) as usize)
}
