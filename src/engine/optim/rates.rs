//! Parameters that move at rates of their own: a head ten times as fast, norms without decay, a frozen backbone.

use crate::engine::nn::Param;
use serde::{Deserialize, Serialize};

/// How some parameters move: those whose names begin with `prefix`, and where `vectors` says so of these only biases and norms.
///
/// Of several that fit a parameter the first holds; one that none fits follows the schedule, with the optimiser's decay.
///
/// | who | rate |
/// |---|---|
/// | SimSiam's predictor (Chen and He 2021, section 4.2: a constant rate) | `Rate { lr: 0.05, scheduled: false, ..Rate::of("predictor.") }` |
/// | PSPNet's head, ten times as fast | `Rate { lr: 10.0, ..Rate::of("head.") }` |
/// | norms and biases, without decay | `Rate { decay: 0.0, vectors: true, ..Rate::of("") }` |
/// | a frozen backbone | `Rate::frozen("backbone.")` |
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rate {
    /// How the parameters' names begin; all begin with nothing.
    pub prefix: String,
    /// Whether only parameters of at most one dimension are meant: biases, gamma and beta of norms.
    pub vectors: bool,
    /// Times the schedule's learning rate, or the rate itself if it is not `scheduled`. At 0 they are frozen: left out of a step
    /// with their gradients, as if they had none.
    pub lr: f64,
    /// Times the optimiser's weight decay.
    pub decay: f64,
    /// Whether they follow the schedule.
    pub scheduled: bool,
}

impl Default for Rate {
    fn default() -> Rate {
        Rate { prefix: String::new(), vectors: false, lr: 1.0, decay: 1.0, scheduled: true }
    }
}

impl Rate {
    /// What holds without any rate, to be changed for parameters whose names begin so.
    pub fn of(prefix: impl Into<String>) -> Rate {
        Rate { prefix: prefix.into(), ..Rate::default() }
    }

    /// Parameters whose names begin so do not move.
    pub fn frozen(prefix: impl Into<String>) -> Rate {
        Rate { lr: 0.0, ..Rate::of(prefix) }
    }

    fn fits(&self, param: &Param) -> bool {
        param.name().starts_with(&self.prefix) && (!self.vectors || param.shape().len() <= 1)
    }
}

/// Parameters that move alike in one step.
#[derive(Clone, Debug)]
pub struct Group {
    /// The parameters.
    pub params: Vec<Param>,
    /// Learning rate of this step.
    pub lr: f64,
    /// Times the optimiser's weight decay.
    pub decay: f64,
}

/// The groups of a step at this learning rate of the schedule, in the order of the rates, those that none fits at the end.
/// Those that move alike are in one; frozen parameters are in none. A gradient that is [packed](crate::engine::autograd::Grads::sum) in their order is not copied.
pub fn groups(params: &[Param], rates: &[Rate], lr: f64) -> Vec<Group> {
    let mut left = params.to_vec();
    let mut groups: Vec<Group> = Vec::new();
    for rate in rates.iter().chain([&Rate::of("")]) {
        let (params, others): (Vec<Param>, Vec<Param>) = left.into_iter().partition(|param| rate.fits(param));
        left = others;
        if rate.lr != 0.0 && !params.is_empty() {
            let lr = if rate.scheduled { rate.lr * lr } else { rate.lr };
            match groups.iter_mut().find(|group| (group.lr, group.decay) == (lr, rate.decay)) {
                Some(group) => group.params.extend(params),
                None => groups.push(Group { params, lr, decay: rate.decay }),
            }
        }
    }
    groups
}
