"""The part of docs/recipe.md that is made from the recipe's models: `python -m switchyard.recipe_reference`."""

from switchyard.console import say
from trainer.reference import recipe_tables

if __name__ == "__main__":
    say(*recipe_tables().removesuffix("\n").split("\n"))
