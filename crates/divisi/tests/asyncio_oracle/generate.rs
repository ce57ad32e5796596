//! Scenarios out of bytes: proptest makes and shrinks the bytes, the recorded ones come from a counter. Fewer and smaller bytes give smaller scenarios.

use super::scenario::{Id, Limit, MARK_BITS, ROOT, Scenario, Statement, Time, What};

/// Bytes of a recorded scenario.
const RECORDED_BYTES: usize = 200;
/// Statements of a scenario, all blocks together.
const STATEMENTS: u16 = 34;
/// Blocks in blocks.
const DEPTH: u8 = 7;
/// The instants at which statements can meet; each has a mark of its own, above those of the sleeps.
const MEETINGS: u32 = 2;
const SLEEPS: u32 = MARK_BITS - MEETINGS;

/// The scenario that these bytes stand for; all bytes stand for one.
pub(crate) fn from_bytes(bytes: &[u8]) -> Scenario {
    let mut maker = Maker {
        bytes: bytes.iter(),
        next_id: ROOT + 1,
        sleeps: 0,
        tasks: vec![ROOT],
        groups: Vec::new(),
    };
    let around = Around {
        depth: 0,
        group: None,
        enclosing: Vec::new(),
        timeout: None,
        equal: None,
        may_join: true,
        ancestors: vec![ROOT],
    };
    let statements = maker.opening(&around);
    Scenario { body: statements }
}

/// The `number`th recorded scenario.
pub(crate) fn recorded(number: u32) -> Scenario {
    // splitmix64: small, and the same for ever, which a library's generator does not promise.
    let mut state = u64::from(number) << 32;
    let bytes: Vec<u8> = (0..RECORDED_BYTES.div_ceil(8))
        .flat_map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (word ^ (word >> 31)).to_le_bytes()
        })
        .collect();
    from_bytes(&bytes)
}

/// 20 ms after the beginning, and 40.
fn meeting(which: u32) -> Time {
    ((20 + 20 * Time::from(which)) << MARK_BITS) + (1 << (SLEEPS + which))
}

struct Maker<'a> {
    bytes: std::slice::Iter<'a, u8>,
    next_id: Id,
    sleeps: u32,
    /// All tasks and groups in the text so far.
    tasks: Vec<Id>,
    groups: Vec<Id>,
}

/// What is around a block.
#[derive(Clone)]
struct Around {
    depth: u8,
    /// The innermost group around.
    group: Option<Id>,
    enclosing: Vec<Id>,
    /// The innermost time limit around in the same task.
    timeout: Option<Id>,
    /// The instant that a time limit around ends at, for another that ends with it.
    equal: Option<Time>,
    /// Whether waiting for a task cannot make a circle.
    may_join: bool,
    ancestors: Vec<Id>,
}

impl Maker<'_> {
    /// A number below `bound`; 0 when the bytes are used up.
    fn below(&mut self, bound: usize) -> usize {
        self.bytes.next().map_or(0, |&byte| usize::from(byte)) % bound
    }

    fn percent(&mut self, chance: usize) -> bool {
        // 0, which is what used-up bytes say, must mean no.
        self.below(100) > 99 - chance
    }

    /// Any task, mostly not the one that is around all others.
    fn any_task(&mut self) -> Id {
        if self.tasks.len() > 1 && !self.percent(12) {
            let index = 1 + self.below(self.tasks.len() - 1);
            return self.tasks[index];
        }
        let index = self.below(self.tasks.len());
        self.tasks[index]
    }

    fn any_group(&mut self) -> Id {
        let index = self.below(self.groups.len());
        self.groups[index]
    }

    fn id(&mut self) -> Id {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    fn full(&self) -> bool {
        self.next_id >= STATEMENTS || self.bytes.len() == 0
    }

    /// 1 to 40 ms and a mark; `None` if no mark is left.
    fn duration(&mut self, longest: usize) -> Option<Time> {
        if self.sleeps == SLEEPS {
            return None;
        }
        let mark = 1 << self.sleeps;
        self.sleeps += 1;
        Some(((1 + self.below(longest) as Time) << MARK_BITS) + mark)
    }

    fn sleep(&mut self) -> Option<Statement> {
        self.sleep_up_to(40)
    }

    fn sleep_up_to(&mut self, longest: usize) -> Option<Statement> {
        let what = What::Sleep(self.duration(longest)?);
        Some(Statement {
            id: self.id(),
            what,
        })
    }

    /// What most scenarios begin with, because without it nothing else says much: a group with a task that has a clean-up, and one that cancels that task,
    /// now and then a second time while it cleans up.
    fn opening(&mut self, around: &Around) -> Vec<Statement> {
        let mut statements = Vec::new();
        if self.percent(20) {
            statements.extend(self.block(around));
        }
        let group = self.id();
        self.groups.push(group);
        let inside = Around {
            depth: 1,
            group: Some(group),
            enclosing: vec![group],
            ..around.clone()
        };
        let mut body = Vec::new();
        if self.percent(6) {
            self.fail_with_an_inner(&inside, &mut body);
        }
        let mut victim = ROOT;
        if self.percent(90) {
            victim = self.id();
            self.tasks.push(victim);
        }
        // Made first, so that there are marks for its sleeps.
        let killer = if self.percent(85) {
            Some(self.killer(group, victim))
        } else {
            None
        };
        let first = self.sleep().filter(|_| !self.percent(8));
        if victim != ROOT {
            let in_victim = Around {
                depth: 2,
                ancestors: vec![ROOT, victim],
                ..inside.clone()
            };
            let id = self.id();
            let mut cleaned: Vec<Statement> = self.sleep().into_iter().collect();
            cleaned.extend(self.block(&in_victim));
            let mut cleanup: Vec<Statement> = self.sleep().into_iter().collect();
            if self.percent(30) {
                cleanup.extend(self.block(&in_victim));
            }
            cleanup.extend(self.sleep_beyond_meetings());
            let what = What::Finally {
                body: cleaned,
                cleanup,
            };
            body.push(Statement {
                id: victim,
                what: What::Spawn {
                    group,
                    body: vec![Statement { id, what }],
                },
            });
        }
        body.extend(killer);
        body.extend(first);
        body.extend(self.block(&inside));
        statements.push(Statement {
            id: group,
            what: What::Group {
                catch: !self.percent(20),
                body,
            },
        });
        if self.percent(12) {
            // The group is over.
            let id = self.id();
            statements.push(self.spawn(id, Some(group), around));
        }
        statements.extend(self.block(around));
        statements
    }

    /// A task that cancels this and that.
    fn killer(&mut self, group: Id, victim: Id) -> Statement {
        let killer = self.id();
        self.tasks.push(killer);
        let mut kills = Vec::new();
        for kill in 0..2 + self.below(2) {
            let soon = if kill == 0 { 40 } else { 12 };
            kills.extend(self.sleep_up_to(soon));
            let id = self.id();
            let what = match self.below(8) {
                0 if kill > 0 => What::Raise,
                1 | 2 => What::CancelGroup { group },
                3 => What::Cancel { task: ROOT },
                _ => What::Cancel { task: victim },
            };
            kills.push(Statement { id, what });
        }
        kills.extend(self.sleep());
        if self.percent(60) {
            // So that it goes on when the rest has failed.
            let id = self.id();
            let what = What::Shield { body: kills };
            kills = vec![Statement { id, what }];
        }
        Statement {
            id: killer,
            what: What::Spawn { group, body: kills },
        }
    }

    /// A group that fails in the same instant as the one around it.
    fn fail_with_an_inner(&mut self, around: &Around, into: &mut Vec<Statement>) {
        into.extend(self.meet_and_raise(around));
        let id = self.id();
        self.groups.push(id);
        let inside = Around {
            group: Some(id),
            ..around.clone()
        };
        let mut body: Vec<Statement> = self.meet_and_raise(&inside).into_iter().collect();
        body.extend(self.sleep_beyond_meetings());
        let catch = self.percent(70);
        into.push(Statement {
            id,
            what: What::Group { catch, body },
        });
        into.extend(self.sleep());
    }

    /// A child that fails when others do.
    fn meet_and_raise(&mut self, around: &Around) -> Option<Statement> {
        let group = around.group?;
        let child = self.id();
        self.tasks.push(child);
        let meet = Statement {
            id: self.id(),
            what: What::Meet(meeting(1)),
        };
        let raise = Statement {
            id: self.id(),
            what: What::Raise,
        };
        Some(Statement {
            id: child,
            what: What::Spawn {
                group,
                body: vec![meet, raise],
            },
        })
    }

    fn sleep_beyond_meetings(&mut self) -> Option<Statement> {
        let time = self.duration(40)? + (100 << MARK_BITS);
        Some(Statement {
            id: self.id(),
            what: What::Sleep(time),
        })
    }

    /// A block's statements, one at least.
    fn block(&mut self, around: &Around) -> Vec<Statement> {
        let mut statements = Vec::new();
        for _ in 0..=self.below(4) {
            let ends = self.statement(around, &mut statements);
            if ends || self.full() {
                break;
            }
        }
        if statements.is_empty() {
            statements.push(Statement {
                id: self.id(),
                what: What::Log,
            });
        }
        statements
    }

    fn group_body(&mut self, id: Id, around: &Around) -> Vec<Statement> {
        let inside = Around {
            depth: around.depth + 1,
            group: Some(id),
            enclosing: around.enclosing.iter().copied().chain([id]).collect(),
            ..around.clone()
        };
        self.groups.push(id);
        let mut statements = Vec::new();
        for _ in 0..=self.below(3) {
            if !self.full() {
                let id = self.id();
                statements.push(self.spawn(id, inside.group, &inside));
            }
        }
        statements.extend(self.block(&inside));
        if self.percent(8) {
            statements.push(Statement {
                id: self.id(),
                what: What::Panic,
            });
        }
        statements
    }

    fn spawn(&mut self, id: Id, group: Option<Id>, around: &Around) -> Statement {
        let Some(group) = group else {
            return Statement {
                id,
                what: What::Log,
            };
        };
        self.tasks.push(id);
        let inside = Around {
            depth: around.depth + 1,
            timeout: None,
            may_join: around.may_join && around.enclosing.contains(&group),
            ancestors: around.ancestors.iter().copied().chain([id]).collect(),
            ..around.clone()
        };
        let mut body = Vec::new();
        // Children that do not wait first meet each other in one instant, in an order that neither side promises.
        let at_once = self.percent(1);
        body.extend(self.sleep().filter(|_| !at_once));
        if at_once && self.percent(60) {
            let id = self.id();
            self.then_sleep(id, What::CancelGroup { group }, &mut body);
        }
        if body.is_empty() && !at_once {
            body.push(Statement {
                id: self.id(),
                what: What::Log,
            });
        } else {
            body.extend(self.block(&inside));
        }
        Statement {
            id,
            what: What::Spawn { group, body },
        }
    }

    /// Adds a statement, or two that belong together; true if nothing behind it can run.
    fn statement(&mut self, around: &Around, into: &mut Vec<Statement>) -> bool {
        let deep = around.depth >= DEPTH || self.full();
        let id = self.id();
        let inside = Around {
            depth: around.depth + 1,
            ..around.clone()
        };
        let what = match self.below(if deep { 40 } else { 100 }) {
            0..=5 => What::Log,
            6..=17 => match self.duration(40) {
                Some(time) => What::Sleep(time),
                None => What::Log,
            },
            18..=23 => What::Raise,
            24..=31 => {
                let task = self.any_task();
                if around.ancestors.contains(&task) {
                    // Children that it has just spawned begin first: asyncio would not stop them in time.
                    into.extend(self.sleep());
                }
                self.then_sleep(id, What::Cancel { task }, into);
                return false;
            }
            32..=37 if !self.groups.is_empty() => {
                // Mostly one that is around.
                let group = match around.group {
                    Some(group) if self.below(4) < 3 => group,
                    _ => self.any_group(),
                };
                self.then_sleep(id, What::CancelGroup { group }, into);
                return false;
            }
            38 => {
                let candidates: Vec<Id> = self
                    .tasks
                    .iter()
                    .copied()
                    .filter(|task| around.may_join && !around.ancestors.contains(task))
                    .collect();
                if candidates.is_empty() {
                    What::Log
                } else {
                    What::Join {
                        task: candidates[self.below(candidates.len())],
                    }
                }
            }
            39 => {
                if around.equal.is_none() {
                    into.push(Statement {
                        id,
                        what: What::Meet(meeting(1)),
                    });
                    into.push(Statement {
                        id: self.id(),
                        what: What::Raise,
                    });
                    return true;
                }
                What::Log
            }
            40..=52 => {
                let body = self.group_body(id, around);
                What::Group {
                    catch: self.percent(60),
                    body,
                }
            }
            53..=61 => return self.timeout(id, around, into),
            62..=67 => match (around.timeout, self.duration(40)) {
                (Some(timeout), Some(after)) => What::Reschedule { timeout, after },
                _ => What::Log,
            },
            68..=76 => {
                let mut body: Vec<Statement> = self.sleep().into_iter().collect();
                if body.is_empty() {
                    What::Log
                } else {
                    body.extend(self.reschedule_late(around));
                    body.extend(self.block(&inside));
                    What::Shield { body }
                }
            }
            // A shielded part and a clean-up wait first: asyncio begins them a turn of its queue later, divisi at once, and in between others
            // may do something in the same instant.
            77..=93 => {
                let Some(wait) = self.sleep() else {
                    into.push(Statement {
                        id,
                        what: What::Log,
                    });
                    return false;
                };
                let mut cleanup = vec![wait];
                cleanup.extend(self.reschedule_late(around));
                let body = self.block(&inside);
                if self.percent(30) {
                    cleanup.extend(self.block(&inside));
                }
                What::Finally { body, cleanup }
            }
            _ => {
                // Into the innermost group, or now and then into any that was opened before.
                let group = if self.percent(25) && !self.groups.is_empty() {
                    Some(self.any_group())
                } else {
                    around.group
                };
                into.push(self.spawn(id, group, around));
                return false;
            }
        };
        let ends = what == What::Raise;
        into.push(Statement { id, what });
        ends
    }

    /// Who has cancelled something waits a while, so that it does not end in the same instant as what it cancelled.
    fn then_sleep(&mut self, id: Id, what: What, into: &mut Vec<Statement>) {
        let sleep = self.sleep();
        let what = if sleep.is_some() { what } else { What::Log };
        into.push(Statement { id, what });
        into.extend(sleep);
    }

    /// Where a limit around may be over already.
    fn reschedule_late(&mut self, around: &Around) -> Option<Statement> {
        let timeout = around.timeout.filter(|_| self.percent(26))?;
        let after = self.duration(40)?;
        let what = What::Reschedule { timeout, after };
        Some(Statement {
            id: self.id(),
            what,
        })
    }

    fn timeout(&mut self, id: Id, around: &Around, into: &mut Vec<Statement>) -> bool {
        let at = match around.equal {
            Some(at) if self.percent(80) => Some(at),
            _ if self.percent(15) => Some(meeting(0)),
            _ => None,
        };
        let limit = match at {
            Some(at) => Limit::At(at),
            None if self.percent(7) => Limit::After(0),
            None => {
                let Some(time) = self.duration(60) else {
                    into.push(Statement {
                        id,
                        what: What::Log,
                    });
                    return false;
                };
                Limit::After(time)
            }
        };
        let inside = Around {
            depth: around.depth + 1,
            timeout: Some(id),
            equal: at.or(around.equal),
            ..around.clone()
        };
        let mut body = Vec::new();
        if at.is_some() && around.equal.is_none() && self.percent(60) {
            let id = self.id();
            self.timeout(id, &inside, &mut body);
        } else {
            if at.is_some() {
                body.extend(self.sleep_beyond_meetings());
            }
            body.extend(self.block(&inside));
        }
        let catch = self.percent(50);
        into.push(Statement {
            id,
            what: What::Timeout { limit, catch, body },
        });
        false
    }
}
