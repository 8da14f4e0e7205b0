//! Features of named photos in a file, and the nearest of them.

use super::neighbours::{Neighbour, Points, nearest};
use crate::engine::device::Device;
use crate::error::{Error, Result};
use crate::files;
use rayon::prelude::*;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::io;
use std::path::Path;

/// Features of photos, one row each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeatureTable {
    /// Name of each photo, `[N]`.
    pub names: Vec<String>,
    /// `[N, width]`.
    pub values: Vec<f32>,
    /// Features of a photo.
    pub width: usize,
}

impl FeatureTable {
    /// Writes `features` `[N, width]` as safetensors, the names as a JSON list in the metadata beside `facts`, and
    /// `views` `[N, side, side, 3]` if any.
    ///
    /// # Errors
    /// [`Error::Io`] if the file can't be written.
    pub fn write_safetensors(
        &self,
        path: &(impl AsRef<Path> + ?Sized),
        facts: &[(String, String)],
        views: Option<(&[f32], usize)>,
    ) -> Result<()> {
        let path = path.as_ref();
        let view = |shape: &[usize], values| {
            let view = TensorView::new(Dtype::F32, shape.to_vec(), bytemuck::cast_slice(values));
            view.expect("rows have equal widths")
        };
        let n = self.names.len();
        let mut arrays = vec![("features", view(&[n, self.width], &self.values))];
        arrays.extend(views.map(|(pixels, side)| ("views", view(&[n, side, side, 3], pixels))));
        let mut metadata: HashMap<String, String> = facts.iter().cloned().collect();
        metadata.insert("names".into(), serde_json::json!(self.names).to_string());
        files::replace_by(path, |beside| {
            safetensors::serialize_to_file(arrays, Some(metadata), beside).map_err(io::Error::other)
        })
    }

    /// Writes lines `file, f0, f1, ..` with a heading.
    ///
    /// # Errors
    /// [`Error::Io`] if the file can't be written.
    pub fn write_csv(&self, path: &(impl AsRef<Path> + ?Sized)) -> Result<()> {
        files::replace_by(path.as_ref(), |beside| {
            let mut file = csv::Writer::from_path(beside)?;
            let heading = std::iter::once("file".to_string()).chain((0..self.width).map(|i| format!("f{i}")));
            file.write_record(heading)?;
            for (name, row) in self.names.iter().zip(self.values.chunks_exact(self.width.max(1))) {
                let line = std::iter::once(name.clone()).chain(row.iter().map(f32::to_string));
                file.write_record(line)?;
            }
            file.flush()
        })
    }

    /// Reads what [`FeatureTable::write_safetensors`] wrote, views left out, and the facts.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Input`] if the file can't be read or is another.
    pub fn read(path: &(impl AsRef<Path> + ?Sized)) -> Result<(FeatureTable, HashMap<String, String>)> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let bad = |what: &str| {
            let advice = "give a .safetensors file that `vista embed` wrote";
            Error::input(format!("not a file of features ({what})"), path.display().to_string(), advice)
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| bad(&e.to_string()))?;
        let mut facts = header.metadata().clone().unwrap_or_default();
        let names: Vec<String> = facts
            .remove("names")
            .and_then(|names| serde_json::from_str(&names).ok())
            .ok_or_else(|| bad("no names"))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| bad(&e.to_string()))?;
        let view = file.tensor("features").map_err(|e| bad(&e.to_string()))?;
        let (&[rows, width], Dtype::F32) = (view.shape(), view.dtype()) else {
            return Err(bad("features are no matrix of f32"));
        };
        if rows != names.len() {
            return Err(bad("as many names as rows are missing"));
        }
        Ok((FeatureTable { names, values: bytemuck::pod_collect_to_vec(view.data()), width }, facts))
    }

    /// The `k` rows nearest to `query` by cosine, nearest first; row `own` is left out. On the CPU: the way to a GPU would take
    /// longer than the product of one row.
    ///
    /// # Errors
    /// [`Error::Input`] if the query has another width.
    pub fn nearest(&self, query: &[f32], own: Option<usize>, k: usize) -> Result<Vec<Neighbour>> {
        if query.len() != self.width {
            let what = format!("{} features of the photo, {} of the others", query.len(), self.width);
            return Err(Error::input(what, "--features", "use features of the same checkpoint"));
        }
        let (keys, query) = (unit(&self.values, self.width), unit(query, self.width));
        let photos: Vec<usize> = (0..self.names.len()).collect();
        let own = [own.unwrap_or(usize::MAX)];
        let query = Points { values: &query, width: self.width, photos: &own };
        let keys = Points { values: &keys, width: self.width, photos: &photos };
        Ok(nearest(&Device::cpu(), &query, &keys, k)?.swap_remove(0))
    }
}

/// Rows of length 1.
pub(crate) fn unit(values: &[f32], width: usize) -> Vec<f32> {
    let mut rows = values.to_vec();
    rows.par_chunks_mut(width.max(1)).for_each(|row| {
        let norm = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt().max(1e-12);
        row.iter_mut().for_each(|v| *v = (f64::from(*v) / norm) as f32);
    });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_comes_back_as_it_was_and_finds_the_nearest_by_angle() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("f.safetensors");
        let names = ["a", "b, c", "d"].map(String::from).to_vec();
        let table = FeatureTable { names, values: vec![1.0, 0.0, 3.0, 3.0, 0.0, 0.5], width: 2 };
        let pixels = vec![0.5; 3 * 2 * 2 * 3];
        table
            .write_safetensors(&path, &[("image_size".into(), "2".into())], Some((&pixels, 2)))
            .expect("written");
        let facts = [("image_size".to_string(), "2".to_string())].into();
        assert_eq!(FeatureTable::read(&path).expect("read"), (table.clone(), facts));
        let found = table.nearest(&[0.0, 9.0], None, 2).expect("found");
        assert_eq!(found.iter().map(|n| n.key).collect::<Vec<_>>(), [2, 1]);
        assert!(
            (found[0].similarity - 1.0).abs() < 1e-6 && (found[1].similarity - 0.5f32.sqrt()).abs() < 1e-6
        );
        assert_eq!(table.nearest(&[0.0, 9.0], Some(2), 1).expect("found")[0].key, 1);
        assert!(table.nearest(&[0.0], None, 1).is_err());
        let list = folder.path().join("f.csv");
        table.write_csv(&list).expect("written");
        let text = std::fs::read_to_string(&list).expect("text");
        assert_eq!(text, "file,f0,f1\na,1,0\n\"b, c\",3,3\nd,0,0.5\n");
        assert!(FeatureTable::read(&list).unwrap_err().to_string().contains("vista embed"));
    }
}
