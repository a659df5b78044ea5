//! Rules out of a seed: the same seed, the same rules. All of them end by themselves.

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{
    call::Op,
    faults::{Action, Answer, Armed, Faults, Rule},
};

/// Rules of one run, at most.
const RULES_MAX: u32 = 4;
/// Requests that one rule strikes, at most. Fewer than a client's tries would hide that it gives up.
const TIMES_MAX: u64 = 4;
/// Requests that pass before.
const SKIP_MAX: u64 = 6;

/// What uploads stand on, the frequent ones twice.
const OPS: [Op; 9] = [
    Op::UploadPart,
    Op::UploadPart,
    Op::PutObject,
    Op::PutObject,
    Op::CreateMultipart,
    Op::Complete,
    Op::HeadObject,
    Op::GetObject,
    Op::ListParts,
];

impl Faults {
    /// Adds the rules of this seed. `describe` tells them.
    pub fn seed(&self, seed: u64) -> Vec<Armed> {
        self.seed_for(seed, "")
    }

    /// The same, only for keys with this text: each upload of several has faults of its own.
    pub fn seed_for(&self, seed: u64, key: &str) -> Vec<Armed> {
        seeded(seed).into_iter().map(|rule| self.add(rule.key(key))).collect()
    }
}

/// Never a rule that holds, and none that damages: the first needs somebody to release it, the second is for tests
/// that expect a failure.
pub(super) fn seeded(seed: u64) -> Vec<Rule> {
    let mut random = StdRng::seed_from_u64(seed);
    let rules = random.random_range(1..=RULES_MAX);
    (0..rules).map(|_| rule(&mut random)).collect()
}

fn rule(random: &mut StdRng) -> Rule {
    let op = OPS[random.random_range(0..OPS.len())];
    let rule = Rule::on(op, action(random, op)).times(random.random_range(1..=TIMES_MAX));
    let rule = rule.skip(random.random_range(0..=SKIP_MAX)).one_in(random.random_range(1..=3));
    match op {
        Op::UploadPart if random.random_bool(0.5) => rule.skip(0).part(random.random_range(1..=8)),
        Op::Complete | Op::CreateMultipart => rule.skip(0),
        _ => rule,
    }
}

fn action(random: &mut StdRng, op: Op) -> Action {
    match random.random_range(0..13) {
        0..=2 => Action::Answer(Answer::SLOW_DOWN),
        3 => Action::Answer(Answer::INTERNAL_ERROR),
        4 => Action::AnswerAfter(Answer::INTERNAL_ERROR),
        5 | 6 => Action::Drop,
        7 => Action::Cut { after: random.random_range(0..6 << 20) },
        8 | 9 => Action::DropAnswer,
        10 if op == Op::Complete => Action::AnswerAfter(Answer::ERROR_IN_200),
        10 => Action::Hang,
        11 => Action::HangAnswer,
        _ => Action::Slow { bytes_per_s: random.random_range(4 << 20..32 << 20) },
    }
}
