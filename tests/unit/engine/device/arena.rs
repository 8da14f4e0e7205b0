use super::*;
use crate::rng::KeyedRng;

fn held(arena: &Arena) -> usize {
    arena.0.lock().expect("lock").pieces.values().map(|piece| 8 * piece.length).sum()
}

#[test]
fn memory_keeps_what_is_written_and_no_two_share_any_of_it() {
    let arena = Arc::new(Arena::default());
    let mut rng = KeyedRng::new("arena", 0, [0; 3]);
    let mut alive: Vec<(f64, Memory)> = Vec::new();
    for step in 0..2000 {
        if alive.len() > 20 || (rng.chance(0.4) && !alive.is_empty()) {
            let (mark, memory) = alive.swap_remove(rng.below(alive.len() as u64) as usize);
            assert!(memory.iter().all(|&v| v == mark), "at step {step}");
        } else {
            let count = [1, FEW - 1, FEW, FEW + 1, 3 * FEW + 5, PIECES[0] / 8][rng.below(6) as usize];
            let mut memory = arena.take(count);
            assert_eq!(memory.len(), count);
            memory.fill(f64::from(step));
            alive.push((f64::from(step), memory));
        }
    }
    drop(alive);
    assert_eq!(arena.usage().0, 0);
    let spans = arena.0.lock().expect("lock");
    for piece in spans.pieces.values() {
        assert_eq!(piece.free.starts.iter().collect::<Vec<_>>(), [(&0, &piece.length)], "joined");
        assert_eq!(piece.free.lengths.len(), 1);
    }
}

#[test]
fn freed_memory_is_used_again_where_it_fits_best() {
    let arena = Arc::new(Arena::default());
    let [a, b, c, d] = [4, 1, 2, 1].map(|many| arena.take(many * FEW));
    let (at_a, at_c) = (a.as_ptr(), c.as_ptr());
    assert_eq!(arena.usage(), (64 * FEW as u64, 64 * FEW as u64));
    drop((a, c));
    assert_eq!(arena.usage(), (16 * FEW as u64, 64 * FEW as u64));
    assert_eq!(arena.take(2 * FEW).as_ptr(), at_c);
    // Joined with what is freed beside it.
    drop(b);
    assert_eq!(arena.take(7 * FEW).as_ptr(), at_a);
    drop(d);
}

#[test]
fn other_shapes_in_each_step_add_nothing() {
    let arena = Arc::new(Arena::default());
    let kept = arena.take(PIECES[0] / 4);
    let mut after_all = 0;
    for step in 0..429 {
        let sizes =
            [3 + step * 7 % 11, 9 + step * 5 % 13, 20, 1 + step % 4].map(|size| size * PIECES[0] / 40);
        let [first, second, third, fourth] = sizes.map(|size| arena.take(size));
        drop(second);
        let fifth = arena.take(sizes[1] + sizes[3]);
        drop((first, third, fourth, fifth));
        // All shapes have been there.
        if step == 142 {
            after_all = held(&arena);
        }
    }
    assert_eq!(held(&arena), after_all);
    drop(kept);
    // A piece that is too small and of which nothing is used makes room for a larger one.
    let large = arena.take(PIECES[1] + UNIT);
    assert_eq!(held(&arena), 8 * large.len());
}
