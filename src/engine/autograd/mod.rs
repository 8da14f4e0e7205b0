//! Autodiff: a tape is a list of ops; `backward` walks it from its end and returns the gradients.
//!
//! ```
//! # use vista::{Device, Tensor, engine::autograd::Tape, engine::ops::Over};
//! let device = Device::cpu();
//! let tape = Tape::new(&device);
//! let [w, x] = [[2.0, -1.0], [3.0, 4.0]].map(|row| Tensor::new(&device, [1, 2], &row));
//! let (w, x) = (tape.leaf(w?), tape.constant(x?)); // a gradient is wanted for w alone
//! let y = w.matmul_nt(&x)?.square()?.sum(Over::All)?; // (w . x)^2 = 4
//! let grads = y.backward()?;
//! assert_eq!(grads.of(&w).expect("y depends on w").to_vec()?, [12.0, 16.0]); // 2 (w . x) x
//! assert!(grads.of(&x).is_none());
//! # Ok::<(), vista::Error>(())
//! ```

mod grads;
mod param;
mod tape;
mod var;

pub use grads::Grads;
pub use param::{Observation, Param, RunningStatistics};
pub use tape::{Tape, Var};
