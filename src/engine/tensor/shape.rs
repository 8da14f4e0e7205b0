//! Shapes: a list of dimensions, row-major.

use std::fmt;

/// Dimensions of a tensor, outermost first. `[]` is a scalar.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(Vec<usize>);

impl Shape {
    /// Number of elements: the product of the dimensions, 1 for a scalar.
    pub fn elements(&self) -> usize {
        self.0.iter().product()
    }

    /// Elements in one row: the product of all dimensions but the first.
    pub fn row(&self) -> usize {
        self.0.iter().skip(1).product()
    }

    /// So many of these rows. A scalar has none.
    pub(crate) fn with_rows(&self, rows: usize) -> Shape {
        let mut dims = self.0.clone();
        dims[0] = rows;
        Shape(dims)
    }
}

impl std::ops::Deref for Shape {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl<T: AsRef<[usize]>> From<T> for Shape {
    fn from(dims: T) -> Shape {
        Shape(dims.as_ref().to_vec())
    }
}

impl From<&Shape> for Shape {
    fn from(shape: &Shape) -> Shape {
        shape.clone()
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let dims: Vec<String> = self.0.iter().map(usize::to_string).collect();
        write!(f, "[{}]", dims.join(","))
    }
}
