//! Small configurations of any method.

use vista::pretrain::Config;

/// The demo by a method with some settings; of a method's own numbers those that it has.
pub fn config<'a>(method: &str, settings: impl IntoIterator<Item = &'a str>) -> Config {
    let demo = Config::preset("demo").expect("preset").with_method(method).expect("method");
    settings.into_iter().fold(demo, |config, setting| match config.with(setting) {
        Err(_) if setting.starts_with("method.") => config,
        other => other.expect("setting"),
    })
}
