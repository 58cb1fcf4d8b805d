import torch

from roadcast.data.loading.room import KEPT, Room


def test_memory_is_given_again_when_no_view_of_it_is_left():
    room = Room()
    first = room((2, 3, 4), torch.uint8)
    place, view = first.data_ptr(), first[:, 1]
    del first
    second = room((2, 3, 4), torch.uint8)
    assert second.data_ptr() != place
    array = view.numpy()
    del view
    assert room((2, 3, 4), torch.uint8).data_ptr() != place
    del array
    assert room((6, 4), torch.uint8).data_ptr() == place


def test_what_is_held_is_never_written_over():
    room = Room()
    held = [room((3,), torch.float32).fill_(n) for n in range(3 * KEPT)]
    assert [tensor[0].item() for tensor in held] == list(range(3 * KEPT))


def test_a_new_size_lets_the_old_blocks_go():
    room = Room()
    room((8,), torch.uint8), room((9,), torch.uint8)
    assert [block.nbytes for block in room._kept] == [9]
