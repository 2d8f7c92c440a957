"""python -m segkit.toy.learn: train the toy networks shipped with segkit."""

from segkit.toy.learn.train import main

if __name__ == "__main__":
    main()
