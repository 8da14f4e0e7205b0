//! Batches of scenes: whole photos with their objects, each of its own size.

use super::recipe::{Draw, Maker, Recipe};
use crate::error::Result;
use crate::photos::photo::Photo;
use crate::photos::views::{LeftOut, Scene, SceneConfig, SceneMaker, SceneParams};

/// The scenes of a batch, in order.
#[derive(Clone, Debug, Default)]
pub struct Scenes {
    /// One of each image.
    pub all: Vec<Scene>,
}

impl Recipe for SceneConfig {
    type Maker = ScenesMaker;

    fn maker(&self) -> Result<ScenesMaker> {
        Ok(ScenesMaker { maker: SceneMaker::new(self.clone())?, one: Scene::default() })
    }
}

/// Makes the scene of one photo at a time.
#[derive(Clone)]
pub struct ScenesMaker {
    maker: SceneMaker,
    /// The one made last.
    one: Scene,
}

impl Maker for ScenesMaker {
    type Made = Scenes;

    fn room(&self, images: usize, _: Option<Scenes>) -> Scenes {
        Scenes { all: vec![Scene::default(); images] }
    }

    fn make(&mut self, shown: &Photo, draw: &Draw) {
        let params = SceneParams::draw(self.maker.config(), &mut draw.rng("scene", 0));
        self.one = self.maker.make(shown, draw.objects.as_deref().unwrap_or_default(), params);
        let why = draw.objects.as_ref().err().cloned();
        self.one.left_out.extend(why.map(|why| LeftOut { object: None, only_mask: false, why }));
    }

    fn lay(&mut self, image: usize, _: usize, into: &mut Scenes) {
        into.all[image] = std::mem::take(&mut self.one);
    }
}
