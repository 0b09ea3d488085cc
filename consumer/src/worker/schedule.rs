//! Which queue is asked next: strictly by priority, within one in proportion to the weights. No I/O, no clock.
//!
//! Stride scheduling (Waldspurger and Weihl, 1995): each message that a queue gives moves it on by the inverse of its
//! weight, and the queue that is furthest behind has the next turn. Who had nothing begins again where the others are.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::config::{Hours, QueueConfig};

/// When a queue has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Share among those of its priority; at least 1.
    pub weight: u32,
    /// Higher ones first.
    pub priority: i32,
    /// After all that are not, whatever the priorities.
    pub deferred: bool,
    /// When it has turns at all.
    pub hours: Option<Hours>,
}

impl From<&QueueConfig> for Terms {
    fn from(queue: &QueueConfig) -> Self {
        Terms { weight: queue.weight, priority: queue.priority, deferred: queue.deferred, hours: queue.hours }
    }
}

impl Terms {
    fn is_open(&self, at: Timestamp) -> bool {
        self.hours.is_none_or(|hours| hours.contains(at))
    }

    fn class(&self) -> Class {
        (self.deferred, Reverse(self.priority))
    }

    fn stride(&self) -> u64 {
        STRIDE / u64::from(self.weight.max(1))
    }
}

/// How far a queue of weight 1 moves on with a message.
const STRIDE: u64 = 1 << 20;

/// The smaller one has its turn first.
type Class = (bool, Reverse<i32>);

/// What is known of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It may have messages.
    Unknown,
    /// It is being asked, and has until then to be heard in this round.
    Asked { until: Instant },
    /// It had none a moment ago.
    Empty,
    /// It will say when it has one.
    Waiting,
}

#[derive(Debug)]
struct Turn {
    terms: Terms,
    state: State,
    /// Messages that it is asked for.
    asked: usize,
    /// How far it is.
    pass: u64,
}

impl Turn {
    fn may_have(&self, at: Timestamp) -> bool {
        matches!(self.state, State::Unknown | State::Asked { .. }) && self.terms.is_open(at)
    }
}

/// The turns of all queues, by their number.
#[derive(Debug)]
pub(super) struct Schedule {
    turns: Vec<Turn>,
    /// How far those of a class are: where the last one was that had a turn.
    reached: BTreeMap<Class, u64>,
}

impl Schedule {
    pub(super) fn new(terms: impl Iterator<Item = Terms>) -> Self {
        let turns = terms.map(|terms| Turn { terms, state: State::Unknown, asked: 0, pass: 0 }).collect();
        Schedule { turns, reached: BTreeMap::new() }
    }

    /// Which queues are to be asked now, and for how many messages each, so that `hands` are filled. They have `patience`
    /// to answer: until then those of lower priority wait for them.
    pub(super) fn ask(&mut self, hands: usize, at: Timestamp, now: Instant, patience: Duration) -> Vec<(usize, usize)> {
        let is_asked = |turn: &&Turn| matches!(turn.state, State::Asked { .. });
        let promised: usize = self.turns.iter().filter(is_asked).map(|turn| turn.asked).sum();
        let may_have = self.turns.iter().filter(|turn| turn.may_have(at));
        let Some(class) = may_have.map(|turn| turn.terms.class()).min() else { return Vec::new() };
        let mut counts = vec![0; self.turns.len()];
        for _ in promised..hands {
            match self.turn(class, at) {
                Some(index) => counts[index] += 1,
                None => break,
            }
        }
        let given: Vec<_> = counts.into_iter().enumerate().filter(|(_, count)| *count > 0).collect();
        for (index, count) in &given {
            let turn = &mut self.turns[*index];
            (turn.state, turn.asked) = (State::Asked { until: now + patience }, *count);
        }
        given
    }

    /// One turn among those of a class that may have messages and are not asked yet.
    fn turn(&mut self, class: Class, at: Timestamp) -> Option<usize> {
        let reached = self.reached.entry(class).or_default();
        let its = |turn: &Turn| turn.state == State::Unknown && turn.terms.class() == class && turn.terms.is_open(at);
        let candidates = self.turns.iter_mut().enumerate().filter(|(_, turn)| its(turn));
        let (index, turn) = candidates.min_by_key(|(_, turn)| turn.pass.max(*reached))?;
        *reached = turn.pass.max(*reached);
        turn.pass = *reached + turn.terms.stride();
        Some(index)
    }

    /// Those that are to be waited on now, because no queue has anything; from here on they count as waited on.
    pub(super) fn wait(&mut self, at: Timestamp) -> Vec<usize> {
        if self.turns.iter().any(|turn| turn.may_have(at)) {
            return Vec::new();
        }
        let mut begun = Vec::new();
        for (index, turn) in self.turns.iter_mut().enumerate() {
            if turn.state == State::Empty && turn.terms.is_open(at) {
                turn.state = State::Waiting;
                begun.push(index);
            }
        }
        begun
    }

    /// A queue that was asked without waiting has given so many.
    pub(super) fn answered(&mut self, index: usize, count: usize) {
        let turn = &mut self.turns[index];
        turn.state = if count > 0 { State::Unknown } else { State::Empty };
        // It pays for what it gave.
        let missing = turn.asked.saturating_sub(count) as u64;
        turn.pass = turn.pass.saturating_sub(missing * turn.terms.stride());
        turn.asked = 0;
    }

    /// A queue has failed: nothing is asked of it until it is told to have woken.
    pub(super) fn set_aside(&mut self, index: usize) {
        self.answered(index, 0);
        self.turns[index].state = State::Waiting;
    }

    /// A wait has ended.
    pub(super) fn woke(&mut self, index: usize) {
        self.turns[index].state = State::Unknown;
    }

    /// A hand became free after all were full: what was empty then may not be now.
    pub(super) fn begin_round(&mut self) {
        for turn in self.turns.iter_mut().filter(|turn| turn.state == State::Empty) {
            turn.state = State::Unknown;
        }
    }

    /// Until when answers are waited for before those of lower priority have their turn; none while nobody is asked.
    pub(super) fn patience(&self) -> Option<Instant> {
        let until = |turn: &Turn| match turn.state {
            State::Asked { until, .. } => Some(until),
            _ => None,
        };
        self.turns.iter().filter_map(until).min()
    }

    /// Goes on without those that have not answered in time: they do when they can.
    pub(super) fn pass_over(&mut self, now: Instant) {
        for turn in &mut self.turns {
            if matches!(turn.state, State::Asked { until, .. } if until <= now) {
                turn.state = State::Waiting;
            }
        }
    }

    /// Whether messages of this queue may be taken at this time of day.
    pub(super) fn is_open(&self, index: usize, at: Timestamp) -> bool {
        self.turns[index].terms.is_open(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);
    const TERMS: Terms = Terms { weight: 1, priority: 0, deferred: false, hours: None };

    fn noon() -> Timestamp {
        "2026-11-21T12:00:00Z".parse().unwrap()
    }

    /// Who has the next turns with one hand, where those in `full` always have messages.
    fn turns(schedule: &mut Schedule, full: &[usize], count: usize, at: Timestamp) -> Vec<usize> {
        let mut taken = Vec::new();
        while taken.len() < count {
            schedule.begin_round();
            loop {
                let asked = schedule.ask(1, at, Instant::now(), PATIENCE);
                let [(index, 1)] = asked[..] else { panic!("{asked:?} of {schedule:?}") };
                schedule.answered(index, usize::from(full.contains(&index)));
                if full.contains(&index) {
                    taken.push(index);
                    break;
                }
            }
        }
        taken
    }

    #[test]
    fn weights_are_shares_of_every_round_and_an_empty_queue_costs_none() {
        let weights = [3, 1, 2].map(|weight| Terms { weight, ..TERMS });
        let mut schedule = Schedule::new(weights.into_iter());
        let all = turns(&mut schedule, &[0, 1, 2], 600, noon());
        for round in all.chunks(6) {
            let shares = [0, 1, 2].map(|index| round.iter().filter(|taken| **taken == index).count());
            assert_eq!(shares, [3, 1, 2], "{round:?}");
        }
        // The third one is empty: the others share what it leaves.
        let two = turns(&mut schedule, &[0, 1], 400, noon());
        assert_eq!(two.iter().filter(|taken| **taken == 0).count(), 300);
        assert!(two.chunks(4).all(|round| round.contains(&1)), "none waits for longer than a round");
        // Back again, it has its share and no more: it has saved nothing up.
        let again = turns(&mut schedule, &[0, 1, 2], 60, noon());
        assert!((19..=21).contains(&again.iter().filter(|taken| **taken == 2).count()), "{again:?}");
    }

    #[test]
    fn several_hands_are_shared_out_at_once() {
        let mut schedule = Schedule::new([3, 1].map(|weight| Terms { weight, ..TERMS }).into_iter());
        assert_eq!(schedule.ask(8, noon(), Instant::now(), PATIENCE), [(0, 6), (1, 2)]);
        schedule.answered(0, 0);
        assert_eq!(
            schedule.ask(8, noon(), Instant::now(), PATIENCE),
            vec![],
            "two hands are promised, the rest too soon"
        );
        schedule.answered(1, 2);
        assert_eq!(schedule.ask(6, noon(), Instant::now(), PATIENCE), [(1, 6)], "no hand is kept for who has nothing");
    }

    #[test]
    fn a_higher_priority_comes_first_as_long_as_it_has_any() {
        let priorities = [(0, false), (5, false), (9, true)];
        let terms = priorities.map(|(priority, deferred)| Terms { priority, deferred, weight: 100, ..TERMS });
        let mut schedule = Schedule::new(terms.into_iter());
        assert_eq!(turns(&mut schedule, &[0, 1, 2], 50, noon()), [1; 50]);
        assert_eq!(turns(&mut schedule, &[0, 2], 50, noon()), [0; 50], "deferred is after all others");
        assert_eq!(turns(&mut schedule, &[2], 3, noon()), [2; 3]);
        assert_eq!(turns(&mut schedule, &[1, 2], 1, noon()), [1]);
    }

    #[test]
    fn all_are_waited_on_only_when_all_are_empty() {
        let mut schedule = Schedule::new([TERMS; 2].into_iter());
        schedule.ask(2, noon(), Instant::now(), PATIENCE);
        schedule.answered(0, 0);
        assert!(schedule.wait(noon()).is_empty(), "the other one has not answered");
        schedule.answered(1, 0);
        assert_eq!((schedule.wait(noon()), schedule.wait(noon())), (vec![0, 1], vec![]));
        assert_eq!(schedule.ask(2, noon(), Instant::now(), PATIENCE), vec![], "an idle worker asks nobody");
        schedule.woke(1);
        assert_eq!(schedule.ask(2, noon(), Instant::now(), PATIENCE), [(1, 2)], "the first one is known to be empty");
    }

    #[test]
    fn who_does_not_answer_holds_up_no_other_for_long() {
        let mut schedule = Schedule::new([1, 0].map(|priority| Terms { priority, ..TERMS }).into_iter());
        let now = Instant::now();
        assert_eq!(schedule.ask(1, noon(), now, PATIENCE), [(0, 1)]);
        schedule.pass_over(now);
        assert_eq!(schedule.ask(1, noon(), now, PATIENCE), vec![], "it still has time");
        schedule.pass_over(schedule.patience().unwrap());
        assert_eq!((schedule.patience(), schedule.ask(1, noon(), now, PATIENCE)), (None, vec![(1, 1)]));
    }

    #[test]
    fn a_deferred_queue_keeps_to_its_hours() {
        let hours = Hours::try_from("22:00-06:00".to_owned()).ok();
        let mut schedule = Schedule::new([TERMS, Terms { deferred: true, hours, ..TERMS }].into_iter());
        let (night, now) = ("2026-11-21T23:00:00Z".parse().unwrap(), Instant::now());
        assert_eq!(schedule.ask(2, noon(), now, PATIENCE), [(0, 2)]);
        schedule.answered(0, 0);
        assert_eq!((schedule.ask(2, noon(), now, PATIENCE), schedule.wait(noon())), (vec![], vec![0]));
        assert_eq!(schedule.ask(2, night, now, PATIENCE), [(1, 2)]);
        schedule.answered(1, 0);
        assert_eq!((schedule.wait(noon()), schedule.wait(night)), (vec![], vec![1]));
        assert!(!schedule.is_open(1, noon()) && schedule.is_open(1, night), "what the wait brings by day goes back");
    }
}
