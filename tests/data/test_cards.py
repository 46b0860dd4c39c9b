from __future__ import annotations

import pytest

from augment.data.cards import find_card, load_card, read_card
from augment.errors import DataError, TargetError
from augment.resources import list_cards


@pytest.mark.parametrize("name", list_cards())
def test_cards_that_ship_are_complete(name):
    card = load_card(name)
    assert card.name == name
    assert card.url.startswith("https://")
    assert card.title and card.licence and card.citation and card.layout
    for category in card.categories.values():
        assert category.words and category.defects
        assert all(category.defects.values())


def test_mvtec_card_knows_every_category_and_defect_type():
    categories = load_card("mvtec").categories
    assert len(categories) == 15
    assert sum(len(category.defects) for category in categories.values()) == 73


def test_a_data_set_of_one_category_may_be_called_as_it_likes():
    card = load_card("kolektor_sdd")
    assert card.category("KolektorSDD") == card.category("commutator") == card.categories["commutator"]
    assert card.category("another") is None


def test_unknown_card_offers_the_nearest():
    with pytest.raises(TargetError, match=r"Did you mean mvtec"):
        load_card("mvtech")


def test_a_card_is_found_by_any_of_its_folders():
    assert find_card("MVTecAD") == find_card("mvtec") == load_card("mvtec")
    assert find_card("my parts") is None
    assert {find_card(name).name for name in list_cards()} == set(list_cards())


@pytest.mark.parametrize(
    "text", ["title: x", "[1, 2]", "a: [", "title: x\nlicense: y\ncategories: {}", "categories: [a]", ""]
)
def test_broken_cards_name_their_file(tmp_path, text):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"mine\.yaml"):
        read_card(path)
